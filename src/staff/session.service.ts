import { Injectable, Logger } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { parseCookie, stringifySetCookie } from 'cookie';
import type { FastifyRequest } from 'fastify';
import { IsNull, LessThan, Repository } from 'typeorm';
import { AuditService } from '../audit/audit.service.ts';
import { StaffPlane } from '../auth/staff-plane.service.ts';
import { type TokenClaims, TokenService } from '../auth/token.service.ts';
import { isForwardedHttps, isInNetworks } from '../common/client-address.ts';
import { Clock } from '../common/clock.ts';
import type { Actor, CurrentStaff } from '../common/request-context.ts';
import { actorOf } from '../common/security.ts';
import { Config } from '../config/config.ts';
import { ThrottleService } from '../rate-limit/throttle.service.ts';
import { type Moment, WaitingRoom } from '../rate-limit/waiting-room.service.ts';
import { SecondFactorService, type SecondFactorProof } from './second-factor.service.ts';
import { verifyPassword } from './staff-password.ts';
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
import { emailKeyOf, presentStaff } from './staff.service.ts';

/** A working day. */
const SESSION_SECONDS = 8 * 3600;
/** For a console that was left open; who sends the token of a session by itself is no browser. */
const IDLE_SECONDS = 30 * 60;
/** How often the use of a session is written down. */
const SEEN_EVERY_MS = 60_000;
const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

export interface Session {
  readonly token: string;
  readonly expiresIn: number;
  /** How long it may be unused; `null`: as long as it lives. */
  readonly idleSeconds: number | null;
  readonly staff: Staff;
}

/** Staff sign in and out; the guard asks here who a session belongs to. */
@Injectable()
export class SessionService extends StaffPlane {
  readonly #logger = new Logger(SessionService.name);
  readonly #cookieName: string;
  readonly #publicOrigin: string;

  constructor(
    @InjectRepository(Staff) private readonly staff: Repository<Staff>,
    @InjectRepository(StaffSession) private readonly sessions: Repository<StaffSession>,
    private readonly tokens: TokenService,
    private readonly secondFactor: SecondFactorService,
    private readonly audit: AuditService,
    private readonly throttle: ThrottleService,
    private readonly waitingRoom: WaitingRoom,
    private readonly config: Config,
    private readonly clock: Clock,
  ) {
    super();
    // Cookies do not tell ports apart: two instances on one host would overwrite each other's.
    this.#cookieName = `latchkey_session_${String(config.adminPort ?? config.port)}`;
    this.#publicOrigin = new URL(config.publicUrl).origin;
  }

  /**
   * Signs a staff member in. A refusal leaves at the common moment.
   *
   * @throws SignInRefusedError, the same for an unknown e-mail and a wrong password; TooManyAttemptsError
   */
  async signIn(credentials: SignInRequest, request: FastifyRequest): Promise<Session> {
    const { staffFailures } = this.throttle;
    const { clientAddress } = request;
    const emailKey = emailKeyOf(credentials.email);
    const moment = this.waitingRoom.momentFor(request.arrivedAt, this.waitingRoom.staffHashes);
    try {
      const { waitMs } = await staffFailures.standing(clientAddress, emailKey);
      if (waitMs > 0) throw new InvalidStaffCredentialsError();
      return await this.#authenticate(credentials, emailKey, moment, request);
    } catch (error) {
      if (!(error instanceof SignInRefusedError)) throw error;
      // Every sign-in of the console begins without a code.
      const refusal =
        error instanceof CodeRequiredError
          ? this.waitingRoom.holdBack(moment)
          : await this.waitingRoom.refuse(staffFailures, moment, clientAddress, emailKey);
      await refusal.wait();
      throw refusal.retryAfter === undefined ? error : new TooManyAttemptsError(refusal.retryAfter);
    } finally {
      moment.cancel();
    }
  }

  /** @throws SignInRefusedError */
  async #authenticate(
    { password, code, cookie = false }: SignInRequest,
    emailKey: string,
    moment: Moment,
    request: FastifyRequest,
  ): Promise<Session> {
    const member = await this.#verify(emailKey, password, moment);
    if (!member) throw new InvalidStaffCredentialsError();
    if (!member.secondFactorAt) return this.#open(member, undefined, cookie, request);
    if (code === undefined) throw new CodeRequiredError();
    return this.#open(member, await this.secondFactor.verify(member, code), cookie, request);
  }

  async #verify(emailKey: string, password: string, moment: Moment): Promise<Staff | undefined> {
    const member = await this.staff
      .createQueryBuilder('staff')
      .addSelect(['staff.passwordHash', 'staff.totpSecret'])
      .where('staff.emailKey = :emailKey', { emailKey })
      .getOne();
    if (!member) return undefined;
    moment.needsHash();
    const verification = this.waitingRoom.staffHashes.queue.run(
      member.id,
      () => verifyPassword(password, member.passwordHash),
      () => performance.now() >= moment.lastMinute,
    );
    return (await this.waitingRoom.inTime(verification, moment)) ? member : undefined;
  }

  /** @throws SignInRefusedError when the password was changed or the code used meanwhile */
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
      // The password and the second factor as they were verified.
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
        actor: actorOf(request, member),
        action: 'staff.signed-in',
        target: { type: 'staff', id, name },
        ...(changes && { changes }),
      });
    });
    member.lastSignInAt = now;
    return { token, expiresIn: SESSION_SECONDS, idleSeconds: byCookie ? IDLE_SECONDS : null, staff: member };
  }

  /** Ends the session; its token is dead. */
  async signOut({ id, name, session }: CurrentStaff, actor: Actor): Promise<void> {
    await this.audit.transaction(async (manager) => {
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
    if (byCookie && unusedMs >= SEEN_EVERY_MS) this.#seen(row, now);
    const member = presentStaff(staff);
    return {
      ...member,
      enrolmentRequired: !member.secondFactor && (await this.secondFactor.isRequired()),
      session: { id, expiresAt, idleSeconds: byCookie ? IDLE_SECONDS : null },
    };
  }

  /** Nobody waits for it, and what it could not write, the next request writes. */
  #seen({ id, lastSeenAt }: StaffSession, now: number): void {
    this.sessions.update({ id, lastSeenAt }, { lastSeenAt: new Date(now) }).catch((error: unknown) => {
      this.#logger.warn(`The use of a session was not recorded: ${(error as Error).message}`);
    });
  }

  override cookieOf(request: FastifyRequest): string | undefined {
    const { cookie } = request.headers;
    return cookie === undefined ? undefined : parseCookie(cookie)[this.#cookieName];
  }

  override refuseCrossSite(request: FastifyRequest): void {
    if (!SAFE_METHODS.has(request.method) && !this.#isSameOrigin(request)) throw new CrossSiteError();
  }

  /**
   * The Set-Cookie header that carries a session, or ends it.
   *
   * @param session `undefined` to end it
   */
  cookieHeader(session: Session | undefined): string {
    return stringifySetCookie({
      name: this.#cookieName,
      value: session?.token ?? '',
      httpOnly: true,
      sameSite: 'strict',
      path: '/admin',
      secure: this.#publicOrigin.startsWith('https:'),
      maxAge: session?.expiresIn ?? 0,
    });
  }

  /** The Origin is that of PUBLIC_URL, or the one this very request was sent to. */
  #isSameOrigin(request: FastifyRequest): boolean {
    const { origin, host } = request.headers;
    if (origin === undefined) return false;
    if (origin === this.#publicOrigin) return true;
    const { remoteAddress } = request.raw.socket;
    const viaProxy = remoteAddress !== undefined && isInNetworks(remoteAddress, this.config.trustedProxies);
    const scheme = viaProxy && isForwardedHttps(request.headers) ? 'https' : 'http';
    return host !== undefined && origin === `${scheme}://${host}`;
  }
}
