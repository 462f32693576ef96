import { Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { DataSource, type EntityManager } from 'typeorm';
import { AuditService } from '../../audit/audit.service.ts';
import { ServiceAccountAuthenticator } from '../../auth/service-account-authenticator.service.ts';
import { fastHashOf, sameHash } from '../../password/secret-hash.ts';
import { Clock } from '../../platform/common/clock.ts';
import type { AppError } from '../../platform/common/errors.ts';
import type { Actor, CurrentServiceAccount, Role } from '../../platform/common/principal.ts';
import { parseNetworks } from '../../platform/config/networks.ts';
import { ChangeFeed } from '../../platform/database/change-feed.service.ts';
import { Batch, ReadBatcher } from '../../platform/database/read-batcher.ts';
import { isInNetworks } from '../../platform/http/client-address.ts';
import { ThrottleService } from '../../rate-limit/throttle.service.ts';
import { idOfKey } from './key-text.ts';
import {
  InvalidKeyError,
  KeyAddressNotAllowedError,
  MistypedKeyError,
  ServiceAccountExpiredError,
  ServiceAccountSuspendedError,
  TooManyKeysTriedError,
} from './service-account.errors.ts';
import { ServiceAccountKeyService } from './service-account-key.service.ts';
import { ServiceAccountUseService } from './service-account-use.service.ts';

/** Wrong keys are counted under this name, for each address. */
const COUNTED_AS = 'service-account-key';

/** A key with what its account allows. */
interface KeyState {
  readonly keyId: string;
  readonly secretHash: string;
  readonly pending: boolean;
  readonly keyExpiresAt: Date | null;
  readonly isRevoked: boolean;
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  readonly allowedIps: readonly string[];
  readonly expiresAt: Date | null;
  readonly isSuspended: boolean;
}

const STATES = `
  SELECT key.id AS "keyId", key.secret_hash AS "secretHash", key.pending, key.expires_at AS "keyExpiresAt",
    key.revoked_at IS NOT NULL OR account.revoked_at IS NOT NULL AS "isRevoked",
    account.id, account.name, account.role, account.allowed_ips AS "allowedIps", account.expires_at AS "expiresAt",
    account.suspended_at IS NOT NULL AS "isSuspended"
  FROM service_account_key AS key JOIN service_account AS account ON account.id = key.service_account_id`;

class KeyBatch extends Batch {
  readonly ids = new Set<string>();
  readonly states = new Map<string, KeyState>();

  get size(): number {
    return this.ids.size;
  }
}

const isPast = (time: Date | null, now: number): boolean => time !== null && time.getTime() <= now;
const hasEnded = (state: KeyState, now: number): boolean => state.isRevoked || isPast(state.keyExpiresAt, now);

/** An unknown address needs an empty allow-list. A list that cannot be parsed allows no address. */
function isAllowed(address: string | null, allowedIps: readonly string[]): boolean {
  if (allowedIps.length === 0) return true;
  const networks = parseNetworks(allowedIps.join(','));
  return address !== null && networks !== undefined && isInNetworks(address, networks);
}

/** Why a right key may not be used now. The address comes first, so that a thief elsewhere learns nothing more. */
function refusalOf(state: KeyState, address: string | null, now: number): AppError | undefined {
  if (!isAllowed(address, state.allowedIps)) return new KeyAddressNotAllowedError(address ?? undefined);
  if (state.isSuspended) return new ServiceAccountSuspendedError();
  return isPast(state.expiresAt, now) ? new ServiceAccountExpiredError() : undefined;
}

/**
 * Recognises the keys of service accounts. The database is read for each request, so that every change holds from the
 * next request on, on every instance. Reads are joined into batches, so that a flood of keys costs few queries.
 */
@Injectable()
export class ServiceAccountAccess extends ServiceAccountAuthenticator {
  readonly #batches: ReadBatcher<KeyBatch>;

  constructor(
    private readonly dataSource: DataSource,
    private readonly keys: ServiceAccountKeyService,
    private readonly uses: ServiceAccountUseService,
    private readonly throttle: ThrottleService,
    private readonly clock: Clock,
    audit: AuditService,
    feed: ChangeFeed,
  ) {
    super();
    this.#batches = new ReadBatcher(
      feed,
      () => new KeyBatch(),
      (batch) => this.#read(batch),
    );
    audit.checkActorsWith('service-account', (manager, actor) => this.#confirm(manager, actor));
  }

  override async authenticate(key: string, request: FastifyRequest): Promise<CurrentServiceAccount> {
    const { clientAddress } = request;
    const keyId = idOfKey(key);
    if (keyId === undefined) throw await this.#failure(clientAddress, new MistypedKeyError());
    const state = await this.#stateOf(keyId);
    const now = this.clock.now();
    if (!state || !sameHash(state.secretHash, fastHashOf(key)) || hasEnded(state, now)) {
      throw await this.#failure(clientAddress, new InvalidKeyError());
    }
    const { id, name, role, pending } = state;
    request.serviceAccount = { id, name, role, key: { id: keyId, isPending: pending } };
    const refusal = refusalOf(state, clientAddress ?? null, now);
    if (refusal) throw refusal;
    return request.serviceAccount;
  }

  override async recordUse({ id, key }: CurrentServiceAccount, request: FastifyRequest): Promise<void> {
    if (key.isPending && !(await this.keys.activate(id, key.id, request))) throw new InvalidKeyError();
    this.uses.record({
      serviceAccountId: id,
      keyId: key.id,
      at: new Date(this.clock.now()),
      address: request.clientAddress ?? null,
    });
  }

  /** Counts a failure. @returns the error to answer: `refusal` itself, or 429 after too many failures of the address */
  async #failure(address: string | undefined, refusal: AppError): Promise<AppError> {
    const { handoverFailures } = this.throttle;
    const { retryAfterMs } = await handoverFailures.stateOf(address, COUNTED_AS);
    if (retryAfterMs > 0) {
      handoverFailures.recordRefusal();
      return new TooManyKeysTriedError(Math.ceil(retryAfterMs / 1000));
    }
    const after = await handoverFailures.fail(address, COUNTED_AS);
    return after.isLimited ? new TooManyKeysTriedError(Math.ceil(after.retryAfterMs / 1000)) : refusal;
  }

  async #stateOf(keyId: string): Promise<KeyState | undefined> {
    const batch = this.#batches.open();
    batch.ids.add(keyId);
    await batch.done;
    return batch.states.get(keyId);
  }

  async #read(batch: KeyBatch): Promise<void> {
    const rows = await this.dataSource.query<KeyState[]>(`${STATES} WHERE key.id = ANY($1::uuid[])`, [[...batch.ids]]);
    for (const row of rows) batch.states.set(row.keyId, row);
  }

  /**
   * Locks the rows of a key and its account until the transaction ends, so that neither ends before the change commits.
   *
   * @throws AppError 401 or 403 when the key or the account has ended, or the account has another role
   */
  async #confirm(manager: EntityManager, { id, session, address }: Actor): Promise<void> {
    const [state] = await manager.query<KeyState[]>(
      `${STATES} WHERE key.id = $1 AND account.id = $2 FOR SHARE OF account, key`,
      [session?.id, id],
    );
    const now = this.clock.now();
    if (!state || hasEnded(state, now) || state.role !== session?.role) throw new InvalidKeyError();
    const refusal = refusalOf(state, address, now);
    if (refusal) throw refusal;
  }
}
