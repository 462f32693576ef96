import { Injectable, Logger } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import type { FastifyRequest } from 'fastify';
import { type EntityManager, IsNull, Repository } from 'typeorm';
import { AuditService } from '../audit/audit.service.ts';
import { StaffAuthenticator } from '../auth/staff-authenticator.service.ts';
import type { TokenClaims } from '../auth/access-token/signed-token.service.ts';
import { Clock } from '../platform/common/clock.ts';
import { UnavailableError } from '../platform/common/errors.ts';
import type { Actor, CurrentStaff } from '../platform/common/principal.ts';
import { NoticeWriter } from '../notice/notice-writer.service.ts';
import { SettingsService } from '../settings/settings.service.ts';
import { ThrottleService } from '../rate-limit/throttle.service.ts';
import { ResponseDelayService } from '../password/response-delay.service.ts';
import type { ResponseDelay } from '../password/response-delay.ts';
import { SecondFactorService, type SecondFactorProof } from './second-factor.service.ts';
import { SessionCookieService } from './session-cookie.service.ts';
import { IDLE_SECONDS, type Session, SessionOpener } from './session-opener.service.ts';
import { PASSWORD_HASH_KIB, verifyPassword } from './staff-password.ts';
import { StaffFailureService } from './staff-failure.service.ts';
import { StaffSession } from './staff-session.entity.ts';
import type { SignInRequest } from './staff.dto.ts';
import { Staff } from './staff.entity.ts';
import {
  CodeRequiredError,
  InvalidStaffCredentialsError,
  LocalSignInOffError,
  SignInRefusedError,
  TooManyAttemptsError,
} from './staff.errors.ts';
import { emailKeyOf } from './staff-lock.service.ts';
import { toStaffDto } from './staff.service.ts';

/** How often the use of a session is recorded. */
const SEEN_EVERY_MS = 60_000;

/**
 * Reads what a sign-out at the identity provider takes, while there is still a session. The function that it returns
 * then looks up the page for it.
 */
export type SignOutOffer = (sessionId: string) => Promise<() => Promise<string | undefined>>;

/** The password could not be checked in time. */
class NotCheckedError extends Error {}

/** Whether an account is one for emergencies. Only admins have one, but an older version may have demoted its holder. */
const mayUseBreakGlass = ({ breakGlass, role }: Staff): boolean => breakGlass && role === 'admin';

/** Signs staff in and out, and tells the guard whom a session belongs to. */
@Injectable()
export class SessionService extends StaffAuthenticator {
  readonly #logger = new Logger(SessionService.name);
  #signOutOffer: SignOutOffer | undefined;

  constructor(
    @InjectRepository(Staff) private readonly staff: Repository<Staff>,
    @InjectRepository(StaffSession) private readonly sessions: Repository<StaffSession>,
    private readonly opener: SessionOpener,
    private readonly cookie: SessionCookieService,
    private readonly secondFactor: SecondFactorService,
    private readonly settings: SettingsService,
    private readonly notices: NoticeWriter,
    private readonly failures: StaffFailureService,
    private readonly audit: AuditService,
    private readonly throttle: ThrottleService,
    private readonly responseDelays: ResponseDelayService,
    private readonly clock: Clock,
  ) {
    super();
    audit.checkActorsWith('staff', (manager, actor) => this.#confirm(manager, actor));
  }

  /**
   * Signs a staff member in. A refusal is delayed alike for all e-mail addresses.
   *
   * @throws SignInRefusedError, the same for an unknown e-mail and a wrong password; TooManyAttemptsError;
   *   UnavailableError while slow checks are not made in time
   */
  async signIn(credentials: SignInRequest, request: FastifyRequest): Promise<Session> {
    const { staffFailures } = this.throttle;
    const { clientAddress } = request;
    const emailKey = emailKeyOf(credentials.email);
    const delay = this.responseDelays.delayFor(request.arrivedAt, this.responseDelays.staffHashes);
    try {
      const { retryAfterMs } = await staffFailures.stateOf(clientAddress, emailKey);
      if (retryAfterMs > 0) throw new InvalidStaffCredentialsError();
      return await this.#authenticate(credentials, emailKey, delay, request);
    } catch (error) {
      if (!(error instanceof SignInRefusedError || error instanceof NotCheckedError)) throw error;
      // Not a failure: the password was right, and every sign-in of the console begins without a code.
      if (error instanceof CodeRequiredError || error instanceof LocalSignInOffError) {
        await (await this.responseDelays.holdBack(delay)).wait();
        throw error;
      }
      const wasChecked = !(error instanceof NotCheckedError);
      const refusal = await this.responseDelays.refuse(staffFailures, delay, clientAddress, emailKey, wasChecked);
      await refusal.wait();
      if (refusal.kind === 'failed') throw error;
      throw refusal.kind === 'no-time'
        ? new UnavailableError(undefined, refusal.retryAfter)
        : new TooManyAttemptsError(refusal.retryAfter ?? 1);
    } finally {
      delay.cancel();
    }
  }

  /** @throws SignInRefusedError, NotCheckedError */
  async #authenticate(
    { password, code, cookie = false }: SignInRequest,
    emailKey: string,
    delay: ResponseDelay,
    request: FastifyRequest,
  ): Promise<Session> {
    const member = await this.#verify(emailKey, password, delay);
    if (!member) {
      this.failures.record(emailKey, 'wrong_password', request.clientAddress);
      throw new InvalidStaffCredentialsError();
    }
    if (!mayUseBreakGlass(member) && (await this.settings.get()).localSignIn === 'break-glass') {
      throw new LocalSignInOffError();
    }
    if (!member.secondFactorAt) return this.#open(member, undefined, cookie, request);
    if (code === undefined) throw new CodeRequiredError();
    const proof = await this.secondFactor.verify(member, code).catch((error: unknown) => {
      if (error instanceof SignInRefusedError) this.failures.record(emailKey, 'wrong_code', request.clientAddress);
      throw error;
    });
    return this.#open(member, proof, cookie, request);
  }

  async #verify(emailKey: string, password: string, delay: ResponseDelay): Promise<Staff | undefined> {
    const member = await this.staff
      .createQueryBuilder('staff')
      .addSelect(['staff.passwordHash', 'staff.totpSecret'])
      .where('staff.emailKey = :emailKey', { emailKey })
      .getOne();
    if (!member) return undefined;
    delay.needsHash();
    const verification = this.responseDelays.staffHashes.queue.run(
      member.id,
      () => verifyPassword(password, member.passwordHash),
      () => delay.isOverdue,
      PASSWORD_HASH_KIB,
    );
    const matches = await delay.result(verification);
    if (matches === undefined) throw new NotCheckedError();
    // An account of the identity provider has a hash, so that it takes as long, and no password that anybody knows.
    return matches && member.oidcSubject === null ? member : undefined;
  }

  /** @throws SignInRefusedError when the password was changed, or the code used, in the meantime */
  async #open(
    member: Staff,
    proof: SecondFactorProof | undefined,
    byCookie: boolean,
    request: FastifyRequest,
  ): Promise<Session> {
    const { id, passwordHash, secondFactorAt } = member;
    const signed = await this.opener.sign(id);
    return this.audit.transaction(async (manager) => {
      const lastSignInAt = new Date(this.clock.now());
      // Matches only while password and second factor are the ones that were verified.
      const { affected } = await manager.update(
        Staff,
        { id, passwordHash, secondFactorAt: secondFactorAt ?? IsNull(), oidcSubject: IsNull() },
        { lastSignInAt },
      );
      if (affected !== 1) throw new InvalidStaffCredentialsError();
      const changes = proof && (await this.secondFactor.use(manager, id, proof));
      if (mayUseBreakGlass(member)) await this.notices.write(manager, 'staff.break_glass_used', { staff: { id } });
      member.lastSignInAt = lastSignInAt;
      return this.opener.open(manager, member, signed, { byCookie }, request, changes);
    });
  }

  /** Registers what offers to sign out at the identity provider, too. The feature of single sign-on does. */
  offerSignOutWith(offer: SignOutOffer): void {
    this.#signOutOffer = offer;
  }

  /**
   * Ends a session, so that its token stops working.
   *
   * @returns the page of the identity provider where the person can sign out as well, if there is one
   */
  async signOut({ id, name, identity, session }: CurrentStaff, actor: Actor): Promise<string | undefined> {
    const offer = identity ? await this.#signOutOffer?.(session.id) : undefined;
    await this.audit.transaction(async (manager) => {
      await manager.query('SELECT FROM staff WHERE id = $1 FOR UPDATE', [id]);
      await this.audit.confirm(manager, actor);
      await manager.delete(StaffSession, { id: session.id });
      this.audit.record(manager, { actor, action: 'staff.signed-out', target: { type: 'staff', id, name } });
    });
    return offer?.();
  }

  override async authenticate({ jti, sub }: TokenClaims): Promise<CurrentStaff | undefined> {
    const row = await this.sessions.findOne({ where: { id: jti, staffId: sub }, relations: { staff: true } });
    if (!row?.staff) return undefined;
    const { id, expiresAt, byCookie, lastSeenAt, staff } = row;
    const now = this.clock.now();
    const unusedMs = now - lastSeenAt.getTime();
    if (expiresAt.getTime() <= now || (byCookie && unusedMs >= IDLE_SECONDS * 1000)) return undefined;
    if (byCookie && unusedMs >= SEEN_EVERY_MS) this.#recordUse(row, now);
    const member = toStaffDto(staff);
    return {
      ...member,
      enrolmentRequired: await this.#mustEnrol(staff),
      session: { id, expiresAt, idleSeconds: byCookie ? IDLE_SECONDS : null },
    };
  }

  /** Whether a person has to set up a second factor. The identity provider has its own. */
  async #mustEnrol({ oidcSubject, secondFactorAt, breakGlass }: Staff): Promise<boolean> {
    if (oidcSubject !== null || secondFactorAt !== null) return false;
    return breakGlass || (await this.secondFactor.isRequired());
  }

  /**
   * Locks the rows of a staff member and of the session until the transaction ends. The staff member comes first, as in
   * every transaction that ends sessions, so that two of them cannot deadlock.
   *
   * @throws AppError 401 when the person was removed or has another role, or when the session has ended
   */
  async #confirm(manager: EntityManager, { id, session }: Actor): Promise<void> {
    const [member] = await manager.query<{ role: string }[]>('SELECT role FROM staff WHERE id = $1 FOR SHARE', [id]);
    const held = await manager.query<unknown[]>(
      'SELECT FROM staff_session WHERE id = $1 AND staff_id = $2 FOR KEY SHARE',
      [session?.id, id],
    );
    if (member?.role !== session?.role || held.length === 0) throw this.sessionEnded();
  }

  /** Records the use of a session in the background. After a failure, the next request records it. */
  #recordUse({ id, lastSeenAt }: StaffSession, now: number): void {
    this.sessions.update({ id, lastSeenAt }, { lastSeenAt: new Date(now) }).catch((error: unknown) => {
      this.#logger.warn(`Recording the use of a session failed, leaving it out: ${(error as Error).message}`);
    });
  }

  override cookieOf(request: FastifyRequest): string | undefined {
    return this.cookie.tokenOf(request);
  }

  override refuseCrossSite(request: FastifyRequest): void {
    this.cookie.refuseCrossSite(request);
  }
}
