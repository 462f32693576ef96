import type { EntityManager } from 'typeorm';
import type { AuditService, Changes } from '../../audit/audit.service.ts';
import type { Actor } from '../../platform/common/principal.ts';
import { ServiceAccount } from './service-account.entity.ts';
import { ServiceAccountNotFoundError } from './service-account.errors.ts';

/** Identifies a service account: by id in the API, by name on the command line. */
export type ServiceAccountRef = { readonly id: string } | { readonly name: string };

export const nameKeyOf = (name: string): string => name.toLowerCase();

/**
 * Changes a service account or its keys in a transaction that locks the account's row first, so that concurrent changes
 * and first uses wait for each other.
 *
 * @throws ServiceAccountNotFoundError
 */
export function changeServiceAccount<T>(
  audit: AuditService,
  of: ServiceAccountRef,
  work: (manager: EntityManager, account: ServiceAccount) => Promise<T>,
): Promise<T> {
  return audit.transaction(async (manager) => {
    const where = 'id' in of ? { id: of.id } : { nameKey: nameKeyOf(of.name) };
    const account = await manager.findOne(ServiceAccount, { where, lock: { mode: 'pessimistic_write' } });
    if (!account) throw new ServiceAccountNotFoundError();
    return work(manager, account);
  });
}

/** Records an event about a service account or one of its keys. */
export function recordServiceAccount(
  audit: AuditService,
  manager: EntityManager,
  action: string,
  { id, name }: Pick<ServiceAccount, 'id' | 'name'>,
  actor: Actor,
  { changes, reason }: { changes: Changes; reason?: string | undefined },
): void {
  audit.record(manager, { actor, action, target: { type: 'service-account', id, name }, changes, reason });
}
