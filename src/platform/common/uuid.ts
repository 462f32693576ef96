import { randomFillSync } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';

export const UUID_PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** An id that no row has. */
export const NIL_UUID = '00000000-0000-0000-0000-000000000000';

export const isUuid = (text: string): boolean => UUID_PATTERN.test(text);

/** Random bytes for 256 ids, sixteen each, fetched with one call. */
const randomness = new Uint8Array(16 * 256);
let usedRandomness = randomness.length;
let sequence = 0;

/**
 * A UUID of version 7 (RFC 9562 §5.7). Ids of the same millisecond sort in the order of their creation.
 *
 * @param at milliseconds since the epoch
 */
export function timeOrderedId(at: number): string {
  if (usedRandomness === randomness.length) {
    randomFillSync(randomness);
    usedRandomness = 0;
  }
  const random = randomness.subarray(usedRandomness, (usedRandomness += 16));
  sequence = (sequence + 1) >>> 0;
  return uuidv7({ msecs: at, seq: sequence, random });
}
