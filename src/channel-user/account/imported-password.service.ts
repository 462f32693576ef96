import { Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { DataSource } from 'typeorm';
import { Clock } from '../../platform/common/clock.ts';
import { MonotonicClock } from '../../platform/common/monotonic-clock.ts';
import { Scheduler } from '../../platform/common/scheduler.ts';
import { Lifecycle } from '../../platform/common/lifecycle.ts';
import { Config } from '../../platform/config/config.ts';
import { ChangeFeed } from '../../platform/database/change-feed.service.ts';
import { NotRunError } from '../../password/fair-queue.ts';
import { ResponseDelayService } from '../../password/response-delay.service.ts';
import type { Account, AccountCredential } from './account.rules.ts';
import { CHANNEL_USER_TOPIC } from '../model/channel-user-change.ts';
import type { CredentialStatus } from '../model/credential.entity.ts';
import { KeyedHashes } from '../../password/keyed-hash.ts';
import {
  fastHashOf,
  isBeyondHash,
  isFastHash,
  isOutdatedHash,
  memoryOf,
  relativeCost,
  sameHash,
  SLOW_HASH_KIB,
  slowHashOf,
  verifySlowHash,
} from '../../password/secret-hash.ts';
import { NIL_UUID } from '../../platform/common/uuid.ts';

const RANK: Record<CredentialStatus, number> = { active: 0, pending: 1, expired: 2, revoked: 3, withdrawn: 3 };
/** Credentials whose last accepted password is kept in memory. */
const MAX_ACCEPTED = 100_000;
/** Addresses that are kept for each of them. */
const MAX_ADDRESSES = 16;
/** How often the costliest hash is looked up, so that an import on another instance is noticed. */
const ESTIMATE_MS = 10_000;
/** How long a verification stays queued after its caller gave up. Must exceed the highest `Retry-After`, 5 s. */
const PATIENCE_MS = 15_000;
/** Credentials that one statement checks for outdated keyed hashes. */
const DROPPED_AT_ONCE = 1_000;
/** The key of all renewals in the queue, which share one turn. */
const UPGRADES = 'upgrades';

/** The costliest hash. An index on this expression keeps the query fast, however many hashes there are. */
const COSTLIEST = `
  SELECT secret_hash AS "secretHash" FROM credential
  WHERE revoked_at IS NULL AND NOT starts_with(secret_hash, '$sha256$')
  ORDER BY (
    CASE
      WHEN secret_hash ~ '^[$]2[aby][$](0[4-9]|[12][0-9]|3[01])[$]' THEN 76 * 2 ^ substring(secret_hash FROM 5 FOR 2)::float8
      WHEN secret_hash ~ '^[$]argon2id[$]v=[0-9]+[$]m=[0-9]{1,7},t=[0-9]{1,3},' THEN
        substring(secret_hash FROM 'm=([0-9]+)')::float8 * substring(secret_hash FROM 't=([0-9]+)')::float8
      ELSE 0
    END) DESC
  LIMIT 1`;

/**
 * The last password that was accepted for a slow hash, and its addresses. Stored by credential and not by hash, since a
 * credential keeps its password when that is hashed again.
 */
interface Accepted {
  readonly keyedHash: string;
  /** In order of use, the latest last. */
  readonly addresses: Set<string>;
}

interface Verification {
  readonly result: Promise<boolean>;
  /** When the last waiting caller gives up, on the monotonic clock. */
  until: number;
}

/** Drops keyed hashes without the prefix $1, of one part of the credentials after the id $2. */
const DROP_OUTDATED = `
  WITH batch AS (
    SELECT id, starts_with(keyed_hash, $1) AS "isCurrent" FROM credential
    WHERE keyed_hash IS NOT NULL AND id > $2 ORDER BY id LIMIT ${String(DROPPED_AT_ONCE)}
  ), dropped AS (
    UPDATE credential SET keyed_hash = NULL FROM batch WHERE credential.id = batch.id AND NOT batch."isCurrent"
      AND NOT starts_with(keyed_hash, $1)
    RETURNING credential.id
  )
  SELECT (SELECT max(id::text) FROM batch) AS last, (SELECT count(*)::int FROM dropped) AS count`;

/** Compares presented passwords with the stored hashes. */
@Injectable()
export class ImportedPasswordService implements OnApplicationBootstrap {
  readonly #keyedHashes: KeyedHashes;
  readonly #accepted = new LRUCache<string, Accepted>({ max: MAX_ACCEPTED });
  readonly #underWay = new Map<string, Verification>();
  readonly #upgrading = new Set<string>();
  readonly #logger = new Logger(ImportedPasswordService.name);

  constructor(
    private readonly dataSource: DataSource,
    private readonly responseDelays: ResponseDelayService,
    private readonly feed: ChangeFeed,
    private readonly clock: Clock,
    private readonly monotonicClock: MonotonicClock,
    private readonly lifecycle: Lifecycle,
    private readonly scheduler: Scheduler,
    config: Config,
  ) {
    this.#keyedHashes = new KeyedHashes(config.keyEncryptionKeys);
  }

  /**
   * Looks for imported passwords, so that sign-ins expect slow hashes from the first one on. Repeats the lookup, to
   * notice an import on another instance within seconds.
   */
  async onApplicationBootstrap(): Promise<void> {
    if (!this.lifecycle.doesBackgroundWork) return;
    await this.#estimate();
    this.scheduler.schedule({
      name: 'Estimating how long imported passwords take',
      everyMs: ESTIMATE_MS,
      run: () => this.#estimate(),
    });
  }

  async #estimate(): Promise<void> {
    const rows = await this.dataSource.query<{ secretHash: string }[]>(COSTLIEST);
    for (const { secretHash } of rows) this.expect(secretHash);
    await this.responseDelays.calibrate();
  }

  /** The hash that {@link match} compares. */
  fastHash(password: string): string {
    return fastHashOf(password);
  }

  /** The credential whose generated password has a hash. An active one is preferred if several have the same. */
  match({ credentials }: Account, fastHash: string): AccountCredential | undefined {
    const matching = credentials.filter(({ secretHash }) => sameHash(secretHash, fastHash));
    if (matching.length < 2) return matching[0];
    const now = this.clock.now();
    return matching.sort((a, b) => RANK[a.statusAt(now)] - RANK[b.statusAt(now)])[0];
  }

  /** The account's credential with an imported password: a live one, or else the last, for the reason of a refusal. */
  slowCredential({ credentials }: Account): AccountCredential | undefined {
    const slow = credentials.filter(({ secretHash }) => !isFastHash(secretHash));
    return slow.find(({ revoked }) => !revoked) ?? slow.at(-1);
  }

  /** Whether a password is the one that this or another instance verified last. Needs no slow hash. */
  isLastAccepted({ id, keyedHash }: AccountCredential, password: string): boolean {
    const known = [keyedHash, this.#accepted.get(id)?.keyedHash];
    return known.some((hash) => hash != null && this.#keyedHashes.verify(hash, id, password));
  }

  /** Whether the last accepted password has signed in from an address on this instance. */
  wasUsedFrom({ id }: AccountCredential, address: string | undefined): boolean {
    return address !== undefined && this.#accepted.get(id)?.addresses.has(address) === true;
  }

  /**
   * Verifies a slow hash when its turn comes. A caller that gives up will probably try again, so the verification goes
   * on and makes the next attempt fast. Attempts with the same password share one verification.
   *
   * @param until when the caller gives up, on the monotonic clock
   * @throws NotRunError when the queue is full, or when the last caller gave up more than `PATIENCE_MS` ago
   */
  verifySlow(account: Account, credential: AccountCredential, password: string, until: number): Promise<boolean> {
    const key = this.#keyedHashes.hash(credential.id, password);
    const shared = this.#underWay.get(key);
    if (shared) {
      shared.until = Math.max(shared.until, until);
      return shared.result;
    }
    const { secretHash } = credential;
    const verify = async (): Promise<boolean> => {
      const matches = await verifySlowHash(password, secretHash);
      if (matches) this.#keep(credential, password);
      return matches;
    };
    // Created before the job, since the queue may call isOver at once.
    const patience = { until };
    const isOver = (): boolean => this.monotonicClock.now() >= patience.until + PATIENCE_MS;
    const result = this.responseDelays.partnerHashes.queue
      .run(account.id, verify, isOver, memoryOf(secretHash))
      .finally(() => this.#underWay.delete(key));
    // A failure must not end the process when all callers have given up.
    result.catch(() => undefined);
    this.#underWay.set(key, Object.assign(patience, { result }));
    return result;
  }

  /** Whether a password is too long for the credential's bcrypt hash, and therefore refused. */
  isBeyondHash({ secretHash }: AccountCredential, password: string): boolean {
    return isBeyondHash(password, secretHash);
  }

  /** Records the address of a password that {@link verifySlow} or {@link isLastAccepted} accepted. */
  recordAccepted(credential: AccountCredential, password: string, address: string | undefined): void {
    const known = this.#accepted.get(credential.id);
    // Stores the keyed hash again if it was dropped or has an older key.
    const { addresses } = known?.keyedHash === credential.keyedHash ? known : this.#keep(credential, password);
    if (address === undefined) return;
    addresses.delete(address);
    addresses.add(address);
    const [oldest] = addresses;
    if (addresses.size > MAX_ADDRESSES && oldest !== undefined) addresses.delete(oldest);
  }

  /**
   * Hashes a password again that was just verified, if its hash is weaker than today's. Runs in the queue, where delays
   * account for it, and only while no sign-in waits there. If it is skipped, the next sign-in tries again.
   */
  upgrade({ id: channelUserId }: Account, { id, secretHash }: AccountCredential, password: string): void {
    if (!isOutdatedHash(secretHash) || this.#upgrading.has(id)) return;
    const { queue } = this.responseDelays.partnerHashes;
    const rehash = async (): Promise<void> => {
      const renewed = await slowHashOf(password);
      // Changes nothing if another instance was first or staff have revoked the credential.
      await this.dataSource.query(
        'UPDATE credential SET secret_hash = $1 WHERE id = $2 AND secret_hash = $3 AND revoked_at IS NULL',
        [renewed, id, secretHash],
      );
      this.feed.announce(CHANNEL_USER_TOPIC, channelUserId);
    };
    this.#upgrading.add(id);
    queue
      .run(UPGRADES, rehash, () => queue.length > 0, SLOW_HASH_KIB)
      .catch((error: unknown) => {
        if (error instanceof NotRunError) return;
        const { message } = error as Error;
        this.#logger.warn(`Renewing a weak password hash failed, retrying at the next sign-in: ${message}`);
      })
      .finally(() => this.#upgrading.delete(id));
  }

  /** Tells sign-ins to expect a hash from now on. Does nothing for a fast hash. */
  expect(secretHash: string): void {
    if (isFastHash(secretHash)) return;
    this.responseDelays.partnerHashes.expect(relativeCost(secretHash));
  }

  /** Hashes a password of an import, within the memory that all slow hashes share. */
  slowHash(password: string): Promise<string> {
    return this.responseDelays.memory.run(SLOW_HASH_KIB, () => slowHashOf(password));
  }

  /**
   * Drops the keyed hashes under older key encryption keys. They cannot be computed again without the passwords, so the
   * next sign-in of each credential verifies its slow hash.
   *
   * @returns the number of affected credentials
   */
  async dropOutdatedKeyedHashes(): Promise<number> {
    let count = 0;
    for (let last: string | null = NIL_UUID; last !== null;) {
      const [batch]: { last: string | null; count: number }[] = await this.dataSource.query(DROP_OUTDATED, [
        this.#keyedHashes.currentPrefix,
        last,
      ]);
      count += batch?.count ?? 0;
      last = batch?.last ?? null;
    }
    return count;
  }

  /** Stores the keyed hash that makes the next sign-in fast: in memory, and in the background in the database. */
  #keep({ id, keyedHash: stored }: AccountCredential, password: string): Accepted {
    const keyedHash = this.#keyedHashes.hash(id, password);
    const accepted = { keyedHash, addresses: this.#accepted.get(id)?.addresses ?? new Set<string>() };
    this.#accepted.set(id, accepted);
    if (stored !== keyedHash) {
      const values = [keyedHash, id];
      this.dataSource
        .query('UPDATE credential SET keyed_hash = $1 WHERE id = $2 AND revoked_at IS NULL', values)
        .catch((error: unknown) => {
          const { message } = error as Error;
          this.#logger.warn(`Storing a keyed hash failed, verifying the slow hash again after a restart: ${message}`);
        });
    }
    return accepted;
  }
}
