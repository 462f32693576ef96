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
import { hashPassword, verifyPassword } from './staff-password.ts';
import { StaffSession } from './staff-session.entity.ts';
import type { ChangePasswordRequest, SignInRequest } from './staff.dto.ts';
import { Staff } from './staff.entity.ts';
import { CrossSiteError, InvalidStaffCredentialsError, WrongPasswordError } from './staff.errors.ts';
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
    private readonly config: Config,
    private readonly clock: Clock,
  ) {
    super();
    // Cookies do not tell ports apart: two instances on one host would overwrite each other's.
    this.#cookieName = `latchkey_session_${String(config.port)}`;
    this.#publicOrigin = new URL(config.publicUrl).origin;
  }

  /**
   * Signs a staff member in.
   *
   * @throws InvalidStaffCredentialsError, the same for an unknown e-mail and a wrong password
   */
  async signIn({ email, password }: SignInRequest, request: FastifyRequest): Promise<Session> {
    const member = await this.staff
      .createQueryBuilder('staff')
      .addSelect('staff.passwordHash')
      .where('staff.emailKey = :key', { key: emailKeyOf(email) })
      .getOne();
    const matches = await verifyPassword(password, member?.passwordHash);
    if (!member || !matches) throw new InvalidStaffCredentialsError();
    const now = new Date(this.clock.now());
    const { token, claims } = this.tokens.sign('staff', member.id, SESSION_SECONDS, {});
    const session = { id: claims.jti, staffId: member.id, createdAt: now, expiresAt: new Date(claims.exp * 1000) };
    const current: CurrentStaff = { ...presentStaff(member), sessionId: session.id };
    await this.dataSource.transaction(async (manager) => {
      // The hash as it was verified: a password that was reset meanwhile must not open a session.
      const { affected } = await manager.update(
        Staff,
        { id: member.id, passwordHash: member.passwordHash },
        { lastSignInAt: now },
      );
      if (affected !== 1) throw new InvalidStaffCredentialsError();
      await manager.delete(StaffSession, { staffId: member.id, expiresAt: LessThan(now) });
      await manager.insert(StaffSession, session);
      await this.audit.record(manager, {
        actor: actorOf(request, current),
        action: 'staff.signed-in',
        target: { type: 'staff', id: member.id, name: member.name },
      });
    });
    member.lastSignInAt = now;
    return { token, expiresIn: SESSION_SECONDS, staff: member };
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
   * @throws WrongPasswordError
   */
  async changePassword(
    { currentPassword, newPassword }: ChangePasswordRequest,
    member: CurrentStaff,
    actor: Actor,
  ): Promise<void> {
    const stored = await this.staff.findOne({ where: { id: member.id }, select: { id: true, passwordHash: true } });
    if (!stored || !(await verifyPassword(currentPassword, stored.passwordHash))) throw new WrongPasswordError();
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
