import { createHash } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import type { AuditService, Changes } from '../../audit/audit.service.ts';
import type { Actor } from '../../platform/common/principal.ts';
import { lockChannelUser } from '../model/channel-user-change.ts';
import { Handover } from './handover.entity.ts';

export const hashOf = (secret: string): Buffer => createHash('sha256').update(secret).digest();

export const sealContext = (id: string): string => `handover:${id}`;

/**
 * SQL for whether the link of a credential has ended unopened, so that nobody knows the password. `$1` is the time. A
 * revoked link of a pending credential comes only from an older version, which does not withdraw the credential.
 *
 * @param credentialId SQL for the credential's id
 */
export const hasEndedUnopened = (credentialId: string): string => `EXISTS (
  SELECT FROM handover WHERE handover.credential_id = ${credentialId} AND handover.revealed_at IS NULL
    AND (handover.revoked_at IS NOT NULL OR handover.expires_at <= $1::timestamptz))`;

/**
 * Locks the channel user, as every change does that ends a credential, so that simultaneous changes happen one after the
 * other. Then reads the link with its password, its account and its credential.
 */
export async function lockHandover(
  manager: EntityManager,
  { id, channelUserId }: Pick<Handover, 'id' | 'channelUserId'>,
) {
  // A separate statement, since a statement that waits for a lock sees other rows as they were before it waited.
  await lockChannelUser(manager, channelUserId);
  return manager
    .createQueryBuilder(Handover, 'handover')
    .addSelect('handover.sealedPassword')
    .innerJoinAndSelect('handover.channelUser', 'channelUser')
    .innerJoinAndSelect('handover.credential', 'credential')
    .where('handover.id = :id AND handover.channelUserId = :channelUserId', { id, channelUserId })
    .getOne();
}

/** Records an event about a link, whose target is its channel user. */
export function recordHandover(
  audit: AuditService,
  manager: EntityManager,
  action: string,
  { id, username }: { readonly id: string; readonly username: string },
  actor: Actor,
  changes: Changes,
): void {
  audit.record(manager, { actor, action, target: { type: 'channel-user', id, name: username }, changes });
}
