/**
 * SHA-256 (FIPS 180-4) in script, because `crypto.subtle` does not exist on pages without https, such as those of a test
 * system at http://192.168.0.7. It only tells passwords apart: nothing relies on it being secret or constant in time.
 */

/** The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
const ROUNDS = new Uint32Array(64);
/** The same of the square roots of the first 8 primes. */
const INITIAL = new Uint32Array(8);

const fraction = (root: number): number => ((root - Math.floor(root)) * 2 ** 32) >>> 0;
const isPrime = (n: number): boolean => {
  for (let divisor = 2; divisor * divisor <= n; divisor++) if (n % divisor === 0) return false;
  return true;
};
for (let n = 2, count = 0; count < ROUNDS.length; n++) {
  if (!isPrime(n)) continue;
  if (count < INITIAL.length) INITIAL[count] = fraction(Math.sqrt(n));
  ROUNDS[count++] = fraction(Math.cbrt(n));
}

const BLOCK = 64;

/** The message with a one bit, zeros, and its length in bits (§5.1.1). */
function padded(message: Uint8Array): DataView {
  const bytes = new Uint8Array(Math.ceil((message.length + 9) / BLOCK) * BLOCK);
  bytes.set(message);
  bytes[message.length] = 0x80;
  const view = new DataView(bytes.buffer);
  view.setBigUint64(bytes.length - 8, BigInt(message.length) * 8n);
  return view;
}

const rotate = (word: number, bits: number): number => (word >>> bits) | (word << (32 - bits));
const at = (words: Uint32Array, index: number): number => words[index] ?? 0;

/** The message schedule of a block (§6.2.2, step 1). */
function scheduleOf(block: DataView, offset: number): Uint32Array {
  const words = new Uint32Array(64);
  for (let t = 0; t < 16; t++) words[t] = block.getUint32(offset + t * 4);
  for (let t = 16; t < 64; t++) {
    const [x, y] = [at(words, t - 15), at(words, t - 2)];
    const s0 = rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3);
    const s1 = rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10);
    words[t] = at(words, t - 16) + s0 + at(words, t - 7) + s1;
  }
  return words;
}

/** Mixes a block into the state (§6.2.2, steps 2 to 4). */
function compress(state: Uint32Array, words: Uint32Array): void {
  let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = state;
  for (let t = 0; t < 64; t++) {
    const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + at(ROUNDS, t) + at(words, t)) | 0;
    const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
  }
  [a, b, c, d, e, f, g, h].forEach((word, i) => {
    state[i] = at(state, i) + word;
  });
}

/** The fingerprint of a password: the first eight hexadecimal digits of its SHA-256. */
export function fingerprintOf(password: string): string {
  const message = padded(new TextEncoder().encode(password));
  const state = INITIAL.slice();
  for (let offset = 0; offset < message.byteLength; offset += BLOCK) compress(state, scheduleOf(message, offset));
  return at(state, 0).toString(16).padStart(8, '0');
}
