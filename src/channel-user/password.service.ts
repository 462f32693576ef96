import { Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { DataSource } from 'typeorm';
import { Clock } from '../common/clock.ts';
import { ChangeFeed } from '../database/change-feed.service.ts';
import { NotRunError, WaitingRoom } from '../rate-limit/waiting-room.service.ts';
import type { Account, AccountCredential } from './account.ts';
import { CHANNEL_USER_TOPIC } from './directory.service.ts';
import {
  fastHashOf,
  isFastHash,
  isOutdatedHash,
  relativeCost,
  sameHash,
  slowHashOf,
  verifySlowHash,
} from './secret-hash.ts';

export { derivePassword, isBearableHash, isRandomUuid, relativeCost, slowHashOf } from './secret-hash.ts';

const RANK = { active: 0, expired: 1, revoked: 2 };
const MAX_ACCEPTED = 100_000;
const MAX_ADDRESSES = 16;
/** In the queue: all renewals together have one turn. */
const UPGRADES = 'upgrades';

/** One of each kind and cost. */
const SLOW_HASHES = `
  SELECT min(secret_hash) AS "secretHash" FROM credential
  WHERE revoked_at IS NULL AND NOT starts_with(secret_hash, '$sha256$')
  GROUP BY substring(secret_hash FROM '^[$](?:2[aby][$][0-9]+|argon2id[$]v=[0-9]+[$][^$]+)')`;

/**
 * The last password that was accepted for a slow hash, and where from. Its credential names it, not its hash: a
 * credential has one password as long as it lives, and hashing that anew does not change it.
 */
interface Accepted {
  /** HMAC of the password under a key that lives as long as the process. */
  readonly mac: Buffer;
  /** The latest last. */
  readonly addresses: Set<string>;
}

interface Verification {
  readonly result: Promise<boolean>;
  /** When the last of those who wait for it gives up, on the monotonic clock. */
  until: number;
}

/** Compares presented passwords with what is stored of them. */
@Injectable()
export class PasswordService implements OnApplicationBootstrap {
  readonly #key = randomBytes(32);
  readonly #accepted = new LRUCache<string, Accepted>({ max: MAX_ACCEPTED });
  readonly #underWay = new Map<string, Verification>();
  readonly #upgrading = new Set<string>();
  readonly #logger = new Logger(PasswordService.name);

  constructor(
    private readonly dataSource: DataSource,
    private readonly waitingRoom: WaitingRoom,
    private readonly feed: ChangeFeed,
    private readonly clock: Clock,
  ) {}

  /** Where there are passwords of an older system, sign-ins have to expect them from the first one on. */
  async onApplicationBootstrap(): Promise<void> {
    const rows = await this.dataSource.query<{ secretHash: string }[]>(SLOW_HASHES);
    for (const { secretHash } of rows) this.expect(secretHash);
  }

  /** What {@link match} compares. */
  fastHash(password: string): string {
    return fastHashOf(password);
  }

  /** The credential with a generated password that a hash belongs to; a live one first, should several have the same. */
  match({ credentials }: Account, fastHash: string): AccountCredential | undefined {
    const matching = credentials.filter(({ secretHash }) => sameHash(secretHash, fastHash));
    if (matching.length < 2) return matching[0];
    const now = this.clock.now();
    return matching.sort((a, b) => RANK[a.statusAt(now)] - RANK[b.statusAt(now)])[0];
  }

  /** The one credential of an account whose password came from an older system; a revoked one tells why it is refused. */
  slowCredential({ credentials }: Account): AccountCredential | undefined {
    const slow = credentials.filter(({ secretHash }) => !isFastHash(secretHash));
    return slow.find(({ revoked }) => !revoked) ?? slow.at(-1);
  }

  /** Whether a password is the one that was accepted last, which costs no slow hash. */
  isLastAccepted({ id }: AccountCredential, password: string): boolean {
    const accepted = this.#accepted.get(id);
    return accepted !== undefined && timingSafeEqual(accepted.mac, this.#mac(password));
  }

  /** Whether that password has signed in from an address. */
  wasUsedFrom({ id }: AccountCredential, address: string | undefined): boolean {
    return address !== undefined && this.#accepted.get(id)?.addresses.has(address) === true;
  }

  /**
   * Verifies a slow hash in its turn. Attempts with the same password share one verification.
   *
   * @param until when the caller gives up, on the monotonic clock
   * @throws NotRunError when there is no room, or when everybody gave up before its turn
   */
  verifySlow(account: Account, credential: AccountCredential, password: string, until: number): Promise<boolean> {
    const mac = this.#mac(password);
    const key = `${credential.id}:${mac.toString('base64')}`;
    const shared = this.#underWay.get(key);
    if (shared) {
      shared.until = Math.max(shared.until, until);
      return shared.result;
    }
    const verify = async (): Promise<boolean> => {
      const matches = await verifySlowHash(password, credential.secretHash);
      // Also when that was too late for this attempt: the next one need not wait.
      if (matches) this.#remember(credential, mac);
      return matches;
    };
    // The queue may ask at once.
    const patience = { until };
    const result = this.waitingRoom.partnerHashes.queue
      .run(account.id, verify, () => performance.now() >= patience.until)
      .finally(() => this.#underWay.delete(key));
    // Those who wait for it may have given up.
    result.catch(() => undefined);
    this.#underWay.set(key, Object.assign(patience, { result }));
    return result;
  }

  /** Notes where a password that {@link verifySlow} verified was used from. */
  noteAccepted({ id }: AccountCredential, address: string | undefined): void {
    const addresses = this.#accepted.get(id)?.addresses;
    if (!addresses || address === undefined) return;
    addresses.delete(address);
    addresses.add(address);
    const [oldest] = addresses;
    if (addresses.size > MAX_ADDRESSES && oldest !== undefined) addresses.delete(oldest);
  }

  /**
   * Hashes a password anew that was verified just now, if its hash is weaker than today's. In the queue, so that
   * sign-ins reckon with it, and only while nobody waits there: whoever signs in next tries again.
   */
  upgrade({ id: channelUserId }: Account, { id, secretHash }: AccountCredential, password: string): void {
    if (!isOutdatedHash(secretHash) || this.#upgrading.has(id)) return;
    const { queue } = this.waitingRoom.partnerHashes;
    const rehash = async (): Promise<void> => {
      const renewed = await slowHashOf(password);
      // Another instance may have been first, or staff may have revoked it.
      await this.dataSource.query(
        'UPDATE credential SET secret_hash = $1 WHERE id = $2 AND secret_hash = $3 AND revoked_at IS NULL',
        [renewed, id, secretHash],
      );
      this.feed.announce(CHANNEL_USER_TOPIC, channelUserId);
    };
    this.#upgrading.add(id);
    queue
      .run(UPGRADES, rehash, () => queue.length > 0)
      .catch((error: unknown) => {
        if (!(error instanceof NotRunError)) this.#logger.warn(`A hash was not renewed: ${(error as Error).message}`);
      })
      .finally(() => this.#upgrading.delete(id));
  }

  /** Sign-ins have to reckon with a hash from now on, however long it takes. */
  expect(secretHash: string): void {
    if (isFastHash(secretHash)) return;
    this.waitingRoom.partnerHashes.expect(relativeCost(secretHash));
  }

  #remember({ id }: AccountCredential, mac: Buffer): void {
    this.#accepted.set(id, { mac, addresses: this.#accepted.get(id)?.addresses ?? new Set<string>() });
  }

  #mac(password: string): Buffer {
    return createHmac('sha256', this.#key).update(password).digest();
  }
}
