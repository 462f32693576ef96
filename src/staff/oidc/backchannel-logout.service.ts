import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { createHash } from 'node:crypto';
import { type EntityManager, LessThan, Repository } from 'typeorm';
import { AuditService } from '../../audit/audit.service.ts';
import { Clock } from '../../platform/common/clock.ts';
import type { Actor } from '../../platform/common/principal.ts';
import { Scheduler } from '../../platform/common/scheduler.ts';
import { isSid, isSubject } from './claims.ts';
import { IdentityProviderService, MAX_LOGOUT_TOKEN_AGE_MS } from './identity-provider.service.ts';
import { LogoutTokenError } from './oidc.errors.ts';
import { UsedLogoutToken } from './used-logout-token.entity.ts';

const EVENT = 'http://schemas.openid.net/event/backchannel-logout';
const HOUR_MS = 3_600_000;

/** Whose sessions end. At least one of the last two is known. */
interface Target {
  readonly issuer: string;
  readonly subject: string | null;
  readonly sid: string | null;
}

/** The staff whose sessions end, in an order in which no two transactions deadlock. */
const FIND = `
  SELECT id, name FROM staff WHERE oidc_issuer = $1 AND ($2::text IS NULL OR oidc_subject = $2)
    AND ($3::text IS NULL OR EXISTS (SELECT FROM staff_session WHERE staff_id = staff.id AND oidc_sid = $3))
  ORDER BY id FOR UPDATE`;
const END = 'DELETE FROM staff_session WHERE staff_id = $1 AND ($2::text IS NULL OR oidc_sid = $2)';
const USE = 'INSERT INTO used_logout_token (id_hash, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING 1';

/** Ends sessions when the identity provider says that a person signed out (OpenID Connect Back-Channel Logout 1.0). */
@Injectable()
export class BackchannelLogoutService implements OnApplicationBootstrap {
  constructor(
    @InjectRepository(UsedLogoutToken) private readonly used: Repository<UsedLogoutToken>,
    private readonly provider: IdentityProviderService,
    private readonly audit: AuditService,
    private readonly clock: Clock,
    private readonly scheduler: Scheduler,
  ) {}

  onApplicationBootstrap(): void {
    this.scheduler.schedule({
      name: 'Deleting used logout tokens',
      everyMs: HOUR_MS,
      run: () => this.used.delete({ expiresAt: LessThan(new Date(this.clock.now())) }),
    });
  }

  /**
   * Ends the sessions that a logout token names. Each token works once.
   *
   * @throws LogoutTokenError, ProviderUnavailableError
   */
  async logout(token: string, actor: Actor): Promise<void> {
    const { iss: issuer = '', sub, sid, jti, events, nonce } = await this.provider.verifyLogoutToken(token);
    if (typeof jti !== 'string' || jti === '') throw new LogoutTokenError('has no jti');
    if (!isLogout(events)) throw new LogoutTokenError('has no event of a back-channel logout');
    // An ID token that somebody captured must not count (§2.4).
    if (nonce !== undefined) throw new LogoutTokenError('has a nonce');
    if (sub !== undefined && !isSubject(sub)) throw new LogoutTokenError('has a malformed sub');
    if (sid !== undefined && !isSid(sid)) throw new LogoutTokenError('has a malformed sid');
    if (sub === undefined && sid === undefined) throw new LogoutTokenError('has neither sub nor sid');
    const target = { issuer, subject: sub ?? null, sid: sid ?? null };
    await this.audit.transaction(async (manager) => {
      await this.#use(manager, issuer, jti);
      await this.#end(manager, target, actor);
    });
  }

  /** @throws LogoutTokenError when the token was used before */
  async #use(manager: EntityManager, issuer: string, jti: string): Promise<void> {
    const idHash = createHash('sha256')
      .update(JSON.stringify([issuer, jti]))
      .digest('base64url');
    const expiresAt = new Date(this.clock.now() + 2 * MAX_LOGOUT_TOKEN_AGE_MS);
    const rows = await manager.query<unknown[]>(USE, [idHash, expiresAt]);
    if (rows.length === 0) throw new LogoutTokenError('was used before');
  }

  async #end(manager: EntityManager, { issuer, subject, sid }: Target, actor: Actor): Promise<void> {
    for (const { id, name } of await manager.query<{ id: string; name: string }[]>(FIND, [issuer, subject, sid])) {
      const [, ended] = await manager.query<[unknown, number]>(END, [id, sid]);
      if (ended === 0) continue;
      this.audit.record(manager, {
        actor,
        action: 'staff.signed-out',
        target: { type: 'staff', id, name },
        reason: 'Signed out at the identity provider',
      });
    }
  }
}

/** Whether the claim `events` has the event of a logout, whose value is an object (§2.4). */
function isLogout(events: unknown): boolean {
  const event = (events as Record<string, unknown> | null | undefined)?.[EVENT];
  return typeof event === 'object' && event !== null && !Array.isArray(event);
}
