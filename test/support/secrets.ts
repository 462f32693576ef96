import { appendFileSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const folder = (): string => {
  const value = process.env['LATCHKEY_TEST_DIR'];
  if (value === undefined) throw new Error('LATCHKEY_TEST_DIR is set by the global setup');
  return value;
};

/**
 * Notes a secret that a test uses. At the end of the run, no output may contain a noted secret.
 *
 * @returns the same secret
 * @throws Error if it is none, as when an answer is an error
 */
export function secret(value: string): string {
  if (typeof (value as unknown) !== 'string') throw new Error(`Not a secret: ${JSON.stringify(value)}`);
  appendFileSync(path.join(folder(), `secrets-${String(process.pid)}`), `${JSON.stringify(value)}\n`);
  return value;
}

/** Keeps a piece of output for the search at the end. */
export function keepOutput(text: string): void {
  appendFileSync(path.join(folder(), `output-${String(process.pid)}`), text);
}

const read = (prefix: string): Buffer =>
  Buffer.concat(
    readdirSync(folder())
      .filter((file) => file.startsWith(prefix))
      .map((file) => readFileSync(path.join(folder(), file))),
  );

/** Bytes of a secret that are looked up at each place of the output. */
const PREFIX_BYTES = 8;

/** A hash of 24 bits of the eight bytes at a place. */
const hashAt = (bytes: Buffer, at: number): number =>
  (Math.imul(bytes.readInt32LE(at), 0x9e3779b1) ^ Math.imul(bytes.readInt32LE(at + 4), 0x85ebca6b)) >>> 8;

/**
 * Searches all output for every noted secret, in one pass, because there are thousands of secrets and hundreds of
 * megabytes.
 */
export function findLeaks(): { secrets: number; outputBytes: number; leaks: string[] } {
  const output = read('output-');
  const secrets = new Set(
    read('secrets-')
      .toString()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as string),
  );
  const found = new Map<string, number>();
  const isPrefix = new Uint8Array(2 ** 24);
  const byHash = new Map<number, Buffer[]>();
  for (const value of secrets) {
    const bytes = Buffer.from(value);
    if (bytes.length < PREFIX_BYTES) {
      const at = output.indexOf(bytes);
      if (at !== -1) found.set(value, at);
      continue;
    }
    const hash = hashAt(bytes, 0);
    isPrefix[hash] = 1;
    byHash.set(hash, [...(byHash.get(hash) ?? []), bytes]);
  }
  for (let at = 0; at + PREFIX_BYTES <= output.length; at++) {
    const hash = hashAt(output, at);
    if (isPrefix[hash] === 0) continue;
    for (const bytes of byHash.get(hash) ?? []) {
      if (!found.has(bytes.toString()) && bytes.equals(output.subarray(at, at + bytes.length)))
        found.set(bytes.toString(), at);
    }
  }
  const leaks = [...found.values()].map((at) =>
    output.subarray(Math.max(0, output.lastIndexOf('\n', at), at - 400), at).toString(),
  );
  return { secrets: secrets.size, outputBytes: output.length, leaks };
}
