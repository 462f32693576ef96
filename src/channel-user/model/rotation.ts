import type { EntityManager } from 'typeorm';
import type { AuditService, Changes } from '../../audit/audit.service.ts';
import type { Actor } from '../../platform/common/principal.ts';
import { type Beginner, Credential } from './credential.entity.ts';

type Audit = Pick<AuditService, 'record'>;
interface Subject {
  readonly id: string;
  readonly username: string;
}

/** Why Latchkey withdraws a pending credential that has expired. Staff read it in the audit trail. */
export const EXPIRED_UNUSED = 'The new password expired before its first use.';

/** Who begins the rotation that an actor starts. A command is run by people with access to the server. */
const BEGINNERS_BY_ACTOR: Record<Actor['type'], Beginner> = {
  staff: 'staff',
  cli: 'staff',
  'service-account': 'service-account',
  'channel-user': 'account',
  system: 'system',
};
export const beginnerOf = ({ type }: Actor): Beginner => BEGINNERS_BY_ACTOR[type];

/** Records an event about a credential, whose target is its channel user. */
export function recordCredential(
  audit: Audit,
  manager: EntityManager,
  action: string,
  { id, username }: Subject,
  actor: Actor,
  { changes, reason }: { changes: Changes; reason?: string | undefined },
): void {
  audit.record(manager, { actor, action, target: { type: 'channel-user', id, name: username }, changes, reason });
}

/**
 * Withdraws a pending credential, in a transaction that has locked its account. Nothing else changes: the other
 * credentials go on. Its one-time links are the caller's.
 *
 * @param reason why Latchkey withdraws it by itself
 */
export async function withdrawCredential(
  audit: Audit,
  manager: EntityManager,
  channelUser: Subject,
  { id, label }: Pick<Credential, 'id' | 'label'>,
  { at, actor, reason }: { at: Date; actor: Actor; reason?: string | undefined },
): Promise<void> {
  await manager.update(Credential, { id }, { revokedAt: at, withdrawnAt: at });
  recordCredential(audit, manager, 'credential.withdrawn', channelUser, actor, {
    changes: { credentialId: [id, id], label: [label, label], status: ['pending', 'withdrawn'] },
    reason,
  });
}

/**
 * Lets live credentials expire at `at` unless they do so earlier, and marks those that the new one supersedes. Runs in a
 * transaction that has locked their account.
 */
export async function retireCredentials(
  audit: Audit,
  manager: EntityManager,
  channelUser: Subject,
  { live, next }: { live: readonly Credential[]; next: Pick<Credential, 'expiresAt'> },
  { at, actor }: { at: Date; actor: Actor },
): Promise<void> {
  for (const { id, label, expiresAt } of live) {
    const end = expiresAt !== null && expiresAt <= at ? expiresAt : at;
    const superseded = next.expiresAt === null || next.expiresAt >= end;
    await manager.update(Credential, { id }, { expiresAt: end, ...(superseded && { superseded }) });
    if (end === expiresAt) continue;
    recordCredential(audit, manager, 'credential.retired', channelUser, actor, {
      changes: { credentialId: [id, id], label: [label, label], expiresAt: [expiresAt, at] },
    });
  }
}
