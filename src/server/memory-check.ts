import { StartError } from './startup.ts';

const MIB = 2 ** 20;
/** Bytes that an instance needs without any partner. */
const BASE_BYTES = 200 * MIB;
/** Bytes for each partner that has signed in and is kept: its account, its limits and its times of last use. */
const PARTNER_BYTES = 2_500;

/**
 * Refuses to start in a container that would run out of memory once the cache is full. `docs/alerts.md` has the
 * measurements.
 *
 * @param constrainedBytes the container's limit, from `process.constrainedMemory()`. 0 or a huge number means no limit
 * @param partners the number of partners
 * @param cacheSize of how many partners an instance keeps the account
 * @throws StartError with both numbers
 */
export function checkMemory(constrainedBytes: number, partners: number, cacheSize: number): void {
  const kept = Math.min(partners, cacheSize);
  const neededBytes = BASE_BYTES + kept * PARTNER_BYTES;
  if (constrainedBytes <= 0 || constrainedBytes >= neededBytes) return;
  const inMib = (bytes: number): string => `${String(Math.ceil(bytes / MIB))} MiB`;
  throw new StartError(
    `The memory limit of this process is ${inMib(constrainedBytes)}, but ${String(kept)} partners in memory need about ` +
      `${inMib(neededBytes)}. Raise the limit or lower CACHE_SIZE.`,
  );
}
