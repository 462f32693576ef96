import { Injectable, Logger } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import type { FastifyRequest } from 'fastify';
import { type EntityManager, IsNull, LessThan, Repository } from 'typeorm';
import { AuditService } from '../audit/audit.service.ts';
import { StaffAuthenticator } from '../auth/staff-authenticator.service.ts';
import { SignedTokenService, type TokenClaims } from '../auth/access-token/signed-token.service.ts';
import { isForwardedHttps, isInNetworks } from '../platform/http/client-address.ts';
import { Clock } from '../platform/common/clock.ts';
import { UnavailableError } from '../platform/common/errors.ts';
import type { Actor, CurrentStaff } from '../platform/common/principal.ts';
import { actorOf } from '../platform/api/security.ts';
import { Config } from '../platform/config/config.ts';
import { ThrottleService } from '../rate-limit/throttle.service.ts';
import { ResponseDelayService } from '../password/response-delay.service.ts';
import type { ResponseDelay } from '../password/response-delay.ts';
import { SecondFactorService, type SecondFactorProof } from './second-factor.service.ts';
import { PASSWORD_HASH_KIB, verifyPassword } from './staff-password.ts';
import { StaffFailureService } from './staff-failure.service.ts';
import { StaffSession } from './staff-session.entity.ts';
import type { SignInRequest } from './staff.dto.ts';
import { Staff } from './staff.entity.ts';
import {
  CodeRequiredError,
  CrossSiteError,
  InvalidStaffCredentialsError,
  SignInRefusedError,
  TooManyAttemptsError,
} from './staff.errors.ts';
import { emailKeyOf, toStaffDto } from './staff.service.ts';

/** How long a session lives at most: a working day. */
const SESSION_SECONDS = 8 * 3600;
/** How long a cookie session may be unused, in case a console is left open. A token session has no such limit. */
const IDLE_SECONDS = 30 * 60;
/** How often the use of a session is recorded. */
const SEEN_EVERY_MS = 60_000;
const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

/** The password could not be checked in time. */
class NotCheckedError extends Error {}

export interface Session {
  readonly token: string;
  /** Seconds until the session ends. */
  readonly expiresIn: number;
  /** How many seconds the session may be unused; `null` without such a limit. */
  readonly idleSeconds: number | null;
  readonly staff: Staff;
}

/** Signs staff in and out, and tells the guard whom a session belongs to. */
@Injectable()
export class SessionService extends StaffAuthenticator {
  readonly #logger = new Logger(SessionService.name);
  readonly #cookieName: string;
  readonly #publicOrigin: string;

  constructor(
    @InjectRepository(Staff) private readonly staff: Repository<Staff>,
    @InjectRepository(StaffSession) private readonly sessions: Repository<StaffSession>,
    private readonly tokens: SignedTokenService,
    private readonly secondFactor: SecondFactorService,
    private readonly failures: StaffFailureService,
    private readonly audit: AuditService,
    private readonly throttle: ThrottleService,
    private readonly responseDelays: ResponseDelayService,
    private readonly config: Config,
    private readonly clock: Clock,
  ) {
    super();
    // The name has the port, since browsers share cookies among all ports of a host.
    this.#cookieName = `latchkey_session_${String(config.adminPort ?? config.port)}`;
    this.#publicOrigin = new URL(config.publicUrl).origin;
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
      // Not a failure: every sign-in of the console begins without a code.
      if (error instanceof CodeRequiredError) {
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
    return matches ? member : undefined;
  }

  /** @throws SignInRefusedError when the password was changed, or the code used, in the meantime */
  async #open(
    member: Staff,
    proof: SecondFactorProof | undefined,
    byCookie: boolean,
    request: FastifyRequest,
  ): Promise<Session> {
    const now = new Date(this.clock.now());
    const { id, name, passwordHash, secondFactorAt } = member;
    const { token, claims } = await this.tokens.sign('staff', id, SESSION_SECONDS, {});
    await this.audit.transaction(async (manager) => {
      // Matches only while password and second factor are the ones that were verified.
      const { affected } = await manager.update(
        Staff,
        { id, passwordHash, secondFactorAt: secondFactorAt ?? IsNull() },
        { lastSignInAt: now },
      );
      if (affected !== 1) throw new InvalidStaffCredentialsError();
      const changes = proof && (await this.secondFactor.use(manager, id, proof));
      await manager.delete(StaffSession, [
        { staffId: id, expiresAt: LessThan(now) },
        { staffId: id, byCookie: true, lastSeenAt: LessThan(new Date(now.getTime() - IDLE_SECONDS * 1000)) },
      ]);
      await manager.insert(StaffSession, {
        id: claims.jti,
        staffId: id,
        createdAt: now,
        expiresAt: new Date(claims.exp * 1000),
        byCookie,
        lastSeenAt: now,
      });
      this.audit.record(manager, {
        actor: actorOf(request, { id, name, role: member.role, session: { id: claims.jti } }),
        action: 'staff.signed-in',
        target: { type: 'staff', id, name },
        ...(changes && { changes }),
      });
    });
    member.lastSignInAt = now;
    return { token, expiresIn: SESSION_SECONDS, idleSeconds: byCookie ? IDLE_SECONDS : null, staff: member };
  }

  /** Ends a session, so that its token stops working. */
  async signOut({ id, name, session }: CurrentStaff, actor: Actor): Promise<void> {
    await this.audit.transaction(async (manager) => {
      await manager.query('SELECT FROM staff WHERE id = $1 FOR UPDATE', [id]);
      await this.audit.confirm(manager, actor);
      await manager.delete(StaffSession, { id: session.id });
      this.audit.record(manager, { actor, action: 'staff.signed-out', target: { type: 'staff', id, name } });
    });
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
      enrolmentRequired: !member.secondFactor && (await this.secondFactor.isRequired()),
      session: { id, expiresAt, idleSeconds: byCookie ? IDLE_SECONDS : null },
    };
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
    const start = `${this.#cookieName}=`;
    const pairs = request.headers.cookie?.split(/; */) ?? [];
    return pairs.find((pair) => pair.startsWith(start))?.slice(start.length);
  }

  override refuseCrossSite(request: FastifyRequest): void {
    if (SAFE_METHODS.has(request.method)) return;
    const { origin } = request.headers;
    const expected = this.#originsOf(request);
    if (origin === undefined || !expected.includes(origin)) throw new CrossSiteError(origin, expected);
  }

  /**
   * The Set-Cookie header that stores a session's token, or deletes it.
   *
   * @param session `undefined` to delete the cookie
   */
  cookieHeader(session: Session | undefined): string {
    // A JWT consists of characters that a cookie may hold (RFC 6265 §4.1.1).
    const { token = '', expiresIn = 0 } = session ?? {};
    const secure = this.#publicOrigin.startsWith('https:') ? ' Secure;' : '';
    return `${this.#cookieName}=${token}; Max-Age=${String(expiresIn)}; Path=/admin; HttpOnly;${secure} SameSite=Strict`;
  }

  /**
   * The origin under which staff reach the staff API, for links that open there. With ADMIN_PORT, it is taken from the
   * request, since staff may use a host name of their own.
   */
  baseUrlFor(request: FastifyRequest): string {
    if (this.config.adminPort === undefined) return this.config.publicUrl;
    const { origin } = request.headers;
    if (origin !== undefined && this.#originsOf(request).includes(origin)) return origin;
    return ownOrigin(request, this.config.trustedProxies) ?? this.config.publicUrl;
  }

  /** The accepted origins: that of PUBLIC_URL, and the one that this request was sent to. */
  #originsOf(request: FastifyRequest): string[] {
    const own = ownOrigin(request, this.config.trustedProxies);
    return own === undefined || own === this.#publicOrigin ? [this.#publicOrigin] : [this.#publicOrigin, own];
  }
}

/** The origin that a request was sent to, according to its Host header and trusted proxies. */
function ownOrigin({ headers, raw }: FastifyRequest, trustedProxies: Config['trustedProxies']): string | undefined {
  const { remoteAddress } = raw.socket;
  const viaProxy = remoteAddress !== undefined && isInNetworks(remoteAddress, trustedProxies);
  const scheme = viaProxy && isForwardedHttps(headers) ? 'https' : 'http';
  return headers.host === undefined ? undefined : `${scheme}://${headers.host}`;
}
