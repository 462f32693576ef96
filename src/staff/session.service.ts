import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { parseCookie, stringifySetCookie } from 'cookie';
import type { FastifyRequest } from 'fastify';
import { DataSource, LessThan, Not, Repository } from 'typeorm';
import { AuditService } from '../audit/audit.service.ts';
import { StaffPlane } from '../auth/staff-plane.service.ts';
import { type TokenClaims, TokenService } from '../auth/token.service.ts';
import { isInNetworks } from '../common/client-address.ts';
import { Clock } from '../common/clock.ts';
import type { Actor, CurrentStaff } from '../common/request-context.ts';
import { actorOf } from '../common/security.ts';
import { Config } from '../config/config.ts';
import { ThrottleService } from '../rate-limit/throttle.service.ts';
import { type Moment, WaitingRoom } from '../rate-limit/waiting-room.service.ts';
import { hashPassword, verifyPassword } from './staff-password.ts';
import { StaffSession } from './staff-session.entity.ts';
import type { ChangePasswordRequest, SignInRequest } from './staff.dto.ts';
import { Staff } from './staff.entity.ts';
import {
  CrossSiteError,
  InvalidStaffCredentialsError,
  TooManyAttemptsError,
  WrongPasswordError,
} from './staff.errors.ts';
import { emailKeyOf, presentStaff } from './staff.service.ts';

/** A working day. */
const SESSION_SECONDS = 8 * 3600;
const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

export interface Session {
  readonly token: string;
  readonly expiresIn: number;
  readonly staff: Staff;
}

/** Staff sign in and out; the guard asks here who a session belongs to. */
@Injectable()
export class SessionService extends StaffPlane {
  readonly #cookieName: string;
  readonly #publicOrigin: string;

  constructor(
    @InjectRepository(Staff) private readonly staff: Repository<Staff>,
    @InjectRepository(StaffSession) private readonly sessions: Repository<StaffSession>,
    private readonly dataSource: DataSource,
    private readonly tokens: TokenService,
    private readonly audit: AuditService,
    private readonly throttle: ThrottleService,
    private readonly waitingRoom: WaitingRoom,
    private readonly config: Config,
    private readonly clock: Clock,
  ) {
    super();
    // Cookies do not tell ports apart: two instances on one host would overwrite each other's.
    this.#cookieName = `latchkey_session_${String(config.port)}`;
    this.#publicOrigin = new URL(config.publicUrl).origin;
  }

  /**
   * Signs a staff member in. A refusal leaves at the common moment.
   *
   * @throws InvalidStaffCredentialsError, the same for an unknown e-mail and a wrong password; TooManyAttemptsError
   */
  async signIn({ email, password }: SignInRequest, request: FastifyRequest): Promise<Session> {
    const moment = this.waitingRoom.momentFor(request.arrivedAt, this.waitingRoom.staffHashes);
    try {
      const emailKey = emailKeyOf(email);
      const { waitMs } = await this.throttle.staffFailures.standing(request.clientAddress, emailKey);
      const member = waitMs > 0 ? undefined : await this.#verify(emailKey, password, moment);
      const session = member && (await this.#open(member, request));
      if (session) return session;
      const refusal = await this.waitingRoom.refuse(
        this.throttle.staffFailures,
        moment,
        request.clientAddress,
        emailKey,
      );
      await refusal.wait();
      throw refusal.retryAfter === undefined
        ? new InvalidStaffCredentialsError()
        : new TooManyAttemptsError(refusal.retryAfter);
    } finally {
      moment.cancel();
    }
  }

  async #verify(emailKey: string, password: string, moment: Moment): Promise<Staff | undefined> {
    const member = await this.staff
      .createQueryBuilder('staff')
      .addSelect('staff.passwordHash')
      .where('staff.emailKey = :emailKey', { emailKey })
      .getOne();
    if (!member) return undefined;
    moment.neededHash = true;
    const verification = this.waitingRoom.staffHashes.queue.run(
      member.id,
      () => verifyPassword(password, member.passwordHash),
      () => performance.now() >= moment.lastMinute,
    );
    return (await this.waitingRoom.inTime(verification, moment)) ? member : undefined;
  }

  /** @returns nothing when the password was changed meanwhile: it must not open a session */
  async #open(member: Staff, request: FastifyRequest): Promise<Session | undefined> {
    const now = new Date(this.clock.now());
    const { token, claims } = await this.tokens.sign('staff', member.id, SESSION_SECONDS, {});
    const session = { id: claims.jti, staffId: member.id, createdAt: now, expiresAt: new Date(claims.exp * 1000) };
    const current: CurrentStaff = { ...presentStaff(member), sessionId: session.id };
    const isOpen = await this.dataSource.transaction(async (manager) => {
      // The hash as it was verified.
      const { affected } = await manager.update(
        Staff,
        { id: member.id, passwordHash: member.passwordHash },
        { lastSignInAt: now },
      );
      if (affected !== 1) return false;
      await manager.delete(StaffSession, { staffId: member.id, expiresAt: LessThan(now) });
      await manager.insert(StaffSession, session);
      await this.audit.record(manager, {
        actor: actorOf(request, current),
        action: 'staff.signed-in',
        target: { type: 'staff', id: member.id, name: member.name },
      });
      return true;
    });
    member.lastSignInAt = now;
    return isOpen ? { token, expiresIn: SESSION_SECONDS, staff: member } : undefined;
  }

  /** Ends the session; its token is dead. */
  async signOut({ id, name, sessionId }: CurrentStaff, actor: Actor): Promise<void> {
    await this.dataSource.transaction(async (manager) => {
      await manager.delete(StaffSession, { id: sessionId });
      await this.audit.record(manager, { actor, action: 'staff.signed-out', target: { type: 'staff', id, name } });
    });
  }

  /**
   * Changes one's own password and ends one's other sessions.
   *
   * @throws WrongPasswordError, TooManyAttemptsError
   */
  async changePassword(
    { currentPassword, newPassword }: ChangePasswordRequest,
    member: CurrentStaff,
    actor: Actor,
  ): Promise<void> {
    const address = actor.address ?? undefined;
    // A stolen session must not be of use for guessing the password: its own count, the address's as for signing in.
    const name = `password of ${member.id}`;
    const { waitMs } = await this.throttle.staffFailures.standing(address, name);
    if (waitMs > 0) throw new TooManyAttemptsError(Math.ceil(waitMs / 1000));
    const stored = await this.staff.findOne({ where: { id: member.id }, select: { id: true, passwordHash: true } });
    if (!stored || !(await verifyPassword(currentPassword, stored.passwordHash))) {
      const { limited, waitMs: wait } = await this.throttle.staffFailures.fail(address, name);
      throw limited ? new TooManyAttemptsError(Math.ceil(wait / 1000)) : new WrongPasswordError();
    }
    const passwordHash = await hashPassword(newPassword);
    await this.dataSource.transaction(async (manager) => {
      const { affected } = await manager.update(
        Staff,
        { id: member.id, passwordHash: stored.passwordHash },
        { passwordHash },
      );
      if (affected !== 1) throw new WrongPasswordError();
      await manager.delete(StaffSession, { staffId: member.id, id: Not(member.sessionId) });
      await this.audit.record(manager, {
        actor,
        action: 'staff.password-changed',
        target: { type: 'staff', id: member.id, name: member.name },
        changes: { password: ['', ''] },
      });
    });
  }

  override async authenticate({ jti, sub }: TokenClaims): Promise<CurrentStaff | undefined> {
    const session = await this.sessions.findOne({ where: { id: jti, staffId: sub }, relations: { staff: true } });
    if (!session?.staff || session.expiresAt.getTime() <= this.clock.now()) return undefined;
    return { ...presentStaff(session.staff), sessionId: session.id };
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
    const scheme = viaProxy && request.headers['x-forwarded-proto'] === 'https' ? 'https' : 'http';
    return host !== undefined && origin === `${scheme}://${host}`;
  }
}
