import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { randomUUID } from 'node:crypto';
import { DataSource, type EntityManager } from 'typeorm';
import { AuditService, type Changes } from '../../audit/audit.service.ts';
import { ONE_DAY } from '../../channel-user/model/channel-user.rules.ts';
import { fastHashOf } from '../../password/secret-hash.ts';
import { Clock } from '../../platform/common/clock.ts';
import { UnavailableError } from '../../platform/common/errors.ts';
import { type Actor, SYSTEM } from '../../platform/common/principal.ts';
import { Scheduler } from '../../platform/common/scheduler.ts';
import { generateKey } from './key-text.ts';
import { changeServiceAccount, recordServiceAccount } from './service-account-change.ts';
import type { RotateServiceAccountRequest } from './service-account.dto.ts';
import type { ServiceAccount } from './service-account.entity.ts';
import {
  KeyNotFoundError,
  KeyNotPendingError,
  KeyRotationPendingError,
  ServiceAccountNotFoundError,
  ServiceAccountRevokedError,
  TooManyKeysError,
} from './service-account.errors.ts';
import { PENDING_KEY_DAYS, ServiceAccountKey } from './service-account-key.entity.ts';

const MAX_LIVE = 5;
const WITHDRAW_MS = 60_000;
/** Why Latchkey withdraws a key. Staff read it in the audit trail. */
const UNUSED = `The new key was not used within ${String(PENDING_KEY_DAYS)} days.`;

/** Pending keys, at the time $1, that nobody will use. One that is the only live key of its account stays. */
const UNUSED_KEYS = `
  SELECT id, service_account_id AS "serviceAccountId" FROM service_account_key AS key
  WHERE pending AND revoked_at IS NULL
    AND created_at <= $1::timestamptz - interval '${String(PENDING_KEY_DAYS)} days'
    AND EXISTS (SELECT FROM service_account_key AS other WHERE other.service_account_id = key.service_account_id
      AND other.id <> key.id AND other.revoked_at IS NULL
      AND (other.expires_at IS NULL OR other.expires_at > $1::timestamptz))`;

/** A created key: its text, which is shown once, and its row. */
export interface CreatedKey {
  readonly key: string;
  readonly row: ServiceAccountKey;
}

/**
 * The keys of service accounts. They rotate like the passwords of channel users: the others end only after the first
 * use of the new one. First use, withdrawal and replacement lock the account's row, so that exactly one happens.
 */
@Injectable()
export class ServiceAccountKeyService implements OnApplicationBootstrap {
  /** First uses that are being written, by key. Simultaneous requests on this instance share one transaction. */
  readonly #activations = new Map<string, Promise<boolean>>();

  constructor(
    private readonly dataSource: DataSource,
    private readonly audit: AuditService,
    private readonly clock: Clock,
    private readonly scheduler: Scheduler,
  ) {}

  onApplicationBootstrap(): void {
    this.scheduler.schedule({
      name: 'Withdrawing new keys that nobody used',
      everyMs: WITHDRAW_MS,
      run: () => this.withdrawUnused(),
    });
  }

  /** Inserts a key in the caller's transaction. @param retireSeconds if given, the key is pending */
  async insert(
    manager: EntityManager,
    { id: serviceAccountId }: Pick<ServiceAccount, 'id'>,
    retireSeconds?: number,
  ): Promise<CreatedKey> {
    const id = randomUUID();
    const key = generateKey(id);
    const row = manager.create(ServiceAccountKey, {
      id,
      serviceAccountId,
      secretHash: fastHashOf(key),
      createdAt: new Date(this.clock.now()),
      expiresAt: null,
      revokedAt: null,
      pending: retireSeconds !== undefined,
      retireSeconds: retireSeconds ?? null,
      lastUsedAt: null,
      lastUsedAddress: null,
    });
    await manager.insert(ServiceAccountKey, row);
    return { key, row };
  }

  /**
   * Adds a key. If others are live, it is pending until its first use unless the request says otherwise, and the others
   * end after that.
   *
   * @param answer makes the rest of the answer in the same transaction, since the key cannot be shown again
   * @throws ServiceAccountNotFoundError, ServiceAccountRevokedError, KeyRotationPendingError, KeyNotFoundError,
   *   KeyNotPendingError, TooManyKeysError
   */
  rotate<T extends object>(
    id: string,
    { retireOthers, replaces }: RotateServiceAccountRequest,
    actor: Actor,
    answer: (manager: EntityManager, account: ServiceAccount) => Promise<T>,
  ): Promise<T & { readonly key: string }> {
    const { after = 'first-use', seconds = ONE_DAY } = retireOthers ?? {};
    return changeServiceAccount(this.audit, { id }, async (manager, account) => {
      if (account.revokedAt !== null) throw new ServiceAccountRevokedError();
      const now = this.clock.now();
      const live = await this.#makeWay(manager, account, { after, replaces, now }, actor);
      const kept = after === 'now' && seconds === 0 ? 0 : live.length;
      if (kept + 1 > MAX_LIVE) throw new TooManyKeysError(MAX_LIVE);
      const waits = after === 'first-use' && live.length > 0;
      const created = await this.insert(manager, account, waits ? seconds : undefined);
      this.#record(manager, 'created', account, actor, {
        keyId: [null, created.row.id],
        ...(waits && { status: [null, 'pending'], retireOthers: [null, { after, seconds }] }),
        ...(replaces !== undefined && { replaces: [null, replaces] }),
      });
      if (!waits) await this.#retire(manager, account, live, new Date(now + seconds * 1000), actor);
      return { ...(await answer(manager, account)), key: created.key };
    });
  }

  /** Ends a pending key. The others go on. @throws ServiceAccountNotFoundError, KeyNotFoundError, KeyNotPendingError */
  withdraw(id: string, keyId: string, actor: Actor): Promise<void> {
    return changeServiceAccount(this.audit, { id }, async (manager, account) => {
      const key = await manager.findOneBy(ServiceAccountKey, { id: keyId, serviceAccountId: id });
      if (!key) throw new KeyNotFoundError();
      const status = key.statusAt(this.clock.now());
      if (status !== 'pending') throw new KeyNotPendingError(status);
      await this.#withdraw(manager, account, key, actor);
    });
  }

  /** Ends one key now. Revoking twice changes nothing. @throws ServiceAccountNotFoundError, KeyNotFoundError */
  revoke(id: string, keyId: string, actor: Actor): Promise<void> {
    return changeServiceAccount(this.audit, { id }, async (manager, account) => {
      const key = await manager.findOneBy(ServiceAccountKey, { id: keyId, serviceAccountId: id });
      if (!key) throw new KeyNotFoundError();
      if (key.revokedAt !== null) return;
      const now = this.clock.now();
      await manager.update(ServiceAccountKey, { id: keyId }, { revokedAt: new Date(now) });
      this.#record(manager, 'revoked', account, actor, {
        keyId: [keyId, keyId],
        status: [key.statusAt(now), 'revoked'],
      });
    });
  }

  /**
   * Makes a pending key active, and lets the others end as its rotation says.
   *
   * @returns false when the key has ended in the meantime
   * @throws UnavailableError when the first use cannot be written
   */
  activate(id: string, keyId: string, request: FastifyRequest): Promise<boolean> {
    const known = this.#activations.get(keyId);
    if (known) return known;
    const actor = { ...SYSTEM, address: request.clientAddress ?? null, requestId: request.id };
    const activation = this.#activate(id, keyId, actor).finally(() => this.#activations.delete(keyId));
    this.#activations.set(keyId, activation);
    return activation;
  }

  /**
   * Withdraws pending keys that nobody has used. Every instance may do so at once, since each withdrawal looks again
   * under the lock of its account.
   */
  async withdrawUnused(): Promise<void> {
    const at = new Date(this.clock.now());
    const found = await this.dataSource.query<{ id: string; serviceAccountId: string }[]>(UNUSED_KEYS, [at]);
    for (const { id, serviceAccountId } of found) {
      await changeServiceAccount(this.audit, { id: serviceAccountId }, async (manager, account) => {
        const [due] = await manager.query<unknown[]>(`${UNUSED_KEYS} AND id = $2`, [at, id]);
        if (due) await this.#withdraw(manager, account, { id }, SYSTEM, UNUSED);
      }).catch((error: unknown) => {
        // It was deleted in the meantime, with its keys.
        if (!(error instanceof ServiceAccountNotFoundError)) throw error;
      });
    }
  }

  /** Withdraws the pending key that a new one takes the place of. @returns the live keys that stay */
  async #makeWay(
    manager: EntityManager,
    account: ServiceAccount,
    { after, replaces, now }: { after: 'first-use' | 'now'; replaces: string | undefined; now: number },
    actor: Actor,
  ): Promise<readonly ServiceAccountKey[]> {
    const all = await manager.findBy(ServiceAccountKey, { serviceAccountId: account.id });
    if (replaces !== undefined) {
      const status = all.find(({ id }) => id === replaces)?.statusAt(now);
      if (status === undefined) throw new KeyNotFoundError();
      if (status !== 'pending') throw new KeyNotPendingError(status);
    }
    const live = all.filter((key) => key.isLiveAt(now));
    const waiting = live.find(({ pending }) => pending);
    if (!waiting) return live;
    if (replaces === undefined && after === 'first-use') throw new KeyRotationPendingError(account.id, waiting);
    await this.#withdraw(manager, account, waiting, actor);
    return live.filter((key) => key !== waiting);
  }

  async #activate(id: string, keyId: string, actor: Actor): Promise<boolean> {
    try {
      return await changeServiceAccount(this.audit, { id }, async (manager, account) => {
        const now = this.clock.now();
        const all = await manager.findBy(ServiceAccountKey, { serviceAccountId: id });
        const used = all.find((key) => key.id === keyId);
        const status = used?.statusAt(now);
        // Another instance was first.
        if (status === 'active') return true;
        if (!used || status !== 'pending' || account.statusAt(now) !== 'active') return false;
        await manager.update(ServiceAccountKey, { id: keyId }, { pending: false });
        this.#record(manager, 'activated', account, actor, { keyId: [keyId, keyId], status: ['pending', 'active'] });
        const others = all.filter((key) => key !== used && key.isLiveAt(now));
        await this.#retire(manager, account, others, new Date(now + (used.retireSeconds ?? 0) * 1000), actor);
        return true;
      });
    } catch (error) {
      if (error instanceof ServiceAccountNotFoundError) return false;
      throw error instanceof UnavailableError ? error : new UnavailableError(error);
    }
  }

  /** Lets live keys end at `at`, unless they do so earlier. */
  async #retire(
    manager: EntityManager,
    account: ServiceAccount,
    live: readonly ServiceAccountKey[],
    at: Date,
    actor: Actor,
  ): Promise<void> {
    for (const { id, expiresAt } of live) {
      if (expiresAt !== null && expiresAt <= at) continue;
      await manager.update(ServiceAccountKey, { id }, { expiresAt: at });
      this.#record(manager, 'retired', account, actor, { keyId: [id, id], expiresAt: [expiresAt, at] });
    }
  }

  async #withdraw(
    manager: EntityManager,
    account: ServiceAccount,
    { id }: Pick<ServiceAccountKey, 'id'>,
    actor: Actor,
    reason?: string,
  ): Promise<void> {
    await manager.update(ServiceAccountKey, { id }, { revokedAt: new Date(this.clock.now()) });
    const changes: Changes = { keyId: [id, id], status: ['pending', 'withdrawn'] };
    this.#record(manager, 'withdrawn', account, actor, changes, reason);
  }

  #record(
    manager: EntityManager,
    what: string,
    account: ServiceAccount,
    actor: Actor,
    changes: Changes,
    reason?: string,
  ): void {
    recordServiceAccount(this.audit, manager, `service-account-key.${what}`, account, actor, { changes, reason });
  }
}
