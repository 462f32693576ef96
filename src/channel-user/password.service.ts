import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { DataSource } from 'typeorm';
import { Clock } from '../common/clock.ts';
import { WaitingRoom } from '../rate-limit/waiting-room.service.ts';
import type { Account, AccountCredential } from './account.ts';
import { fastHashOf, isFastHash, sameHash, verifySlowHash } from './secret-hash.ts';

const RANK = { active: 0, expired: 1, revoked: 2 };
const MAX_ACCEPTED = 100_000;
const MAX_ADDRESSES = 16;

/** The last password that was accepted for a slow hash, and where from. */
interface Accepted {
  readonly secretHash: string;
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

  constructor(
    private readonly dataSource: DataSource,
    private readonly waitingRoom: WaitingRoom,
    private readonly clock: Clock,
  ) {}

  /** Where there are passwords of an older system, sign-ins have to expect them from the first one on. */
  async onApplicationBootstrap(): Promise<void> {
    const [row] = await this.dataSource.query<{ found: boolean }[]>(
      `SELECT EXISTS (SELECT FROM credential
         WHERE revoked_at IS NULL AND NOT starts_with(secret_hash, '$sha256$')) AS found`,
    );
    if (row?.found === true) this.waitingRoom.partnerHashes.expect();
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

  /** The one credential of an account whose password came from an older system. */
  slowCredential({ credentials }: Account): AccountCredential | undefined {
    return credentials.find(({ secretHash, revoked }) => !revoked && !isFastHash(secretHash));
  }

  /** Whether a password is the one that was accepted last, which costs no slow hash. */
  isLastAccepted({ id, secretHash }: AccountCredential, password: string): boolean {
    const accepted = this.#accepted.get(id);
    return accepted?.secretHash === secretHash && timingSafeEqual(accepted.mac, this.#mac(password));
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

  #remember({ id, secretHash }: AccountCredential, mac: Buffer): void {
    const known = this.#accepted.get(id);
    const addresses = known?.secretHash === secretHash ? known.addresses : new Set<string>();
    this.#accepted.set(id, { secretHash, mac, addresses });
  }

  #mac(password: string): Buffer {
    return createHmac('sha256', this.#key).update(password).digest();
  }
}
