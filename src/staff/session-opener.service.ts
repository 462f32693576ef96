import { Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { type EntityManager, LessThan } from 'typeorm';
import { AuditService, type Changes } from '../audit/audit.service.ts';
import { type SignedToken, SignedTokenService } from '../auth/access-token/signed-token.service.ts';
import { actorOf } from '../platform/api/security.ts';
import { Clock } from '../platform/common/clock.ts';
import { StaffSession } from './staff-session.entity.ts';
import type { Staff } from './staff.entity.ts';

/** How long a session lives at most: a working day. */
const SESSION_SECONDS = 8 * 3600;
/** How long a cookie session may be unused, in case a console is left open. A token session has no such limit. */
export const IDLE_SECONDS = 30 * 60;

export interface Session {
  readonly token: string;
  /** Seconds until the session ends. */
  readonly expiresIn: number;
  /** How many seconds the session may be unused; `null` without such a limit. */
  readonly idleSeconds: number | null;
  readonly staff: Staff;
}

/** What differs between the sessions of one person. */
export interface SessionKind {
  /** Whether the token is in the console's cookie. */
  readonly byCookie: boolean;
  readonly oidcSid?: string | null;
  /** The sealed ID token, by the id of the session. */
  readonly idToken?: ((sessionId: string) => Buffer | null) | undefined;
}

/** Opens sessions for people who have proved who they are. */
@Injectable()
export class SessionOpener {
  constructor(
    private readonly tokens: SignedTokenService,
    private readonly audit: AuditService,
    private readonly clock: Clock,
  ) {}

  /** Signs the token of a session that {@link open} then opens. Not in the transaction: the key may have to be read. */
  sign(staffId: string): Promise<SignedToken> {
    return this.tokens.sign('staff', staffId, SESSION_SECONDS, {});
  }

  /**
   * Opens a session, in the transaction that let the person in and set `lastSignInAt`.
   *
   * @param member with the new role and `lastSignInAt`
   * @param signed what {@link sign} returned
   * @param changes for the audit trail, if the sign-in changed something
   */
  async open(
    manager: EntityManager,
    member: Staff,
    { token, claims }: SignedToken,
    { byCookie, oidcSid = null, idToken }: SessionKind,
    request: FastifyRequest,
    changes?: Changes,
  ): Promise<Session> {
    const now = new Date(this.clock.now());
    const { id, name, role } = member;
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
      authenticatedAt: now,
      oidcSid,
      idToken: idToken?.(claims.jti) ?? null,
    });
    this.audit.record(manager, {
      actor: actorOf(request, { id, name, role, session: { id: claims.jti } }),
      action: 'staff.signed-in',
      target: { type: 'staff', id, name },
      ...(changes && { changes }),
    });
    return { token, expiresIn: SESSION_SECONDS, idleSeconds: byCookie ? IDLE_SECONDS : null, staff: member };
  }
}
