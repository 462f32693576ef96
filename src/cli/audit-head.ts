import { readFile } from 'node:fs/promises';
import type { Link } from '../audit/chain/chain-link.ts';
import { InvalidInputError } from '../platform/common/errors.ts';

/** @throws InvalidInputError */
export async function readHead(file: string): Promise<Link> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new InvalidInputError([], `${file} cannot be read: ${(error as Error).message}`);
  });
  // npm prints lines of its own around a script's output.
  const heads = text.split('\n').flatMap((line) => headOf(line) ?? []);
  if (heads.length === 1 && heads[0]) return heads[0];
  const found = heads.length === 0 ? 'none' : `${String(heads.length)} lines`;
  throw new InvalidInputError(
    [],
    `${file} must contain exactly one line as printed by \`audit head\`, such as {"sequence":1,"mac":"…"}; found ` +
      `${found}.`,
  );
}

function headOf(line: string): Link | undefined {
  try {
    const { sequence, mac } = JSON.parse(line) as Partial<Record<string, unknown>>;
    if (!Number.isSafeInteger(sequence) || typeof mac !== 'string' || !/^[0-9a-f]{64}$/.test(mac)) return undefined;
    return { sequence: Number(sequence), mac: Buffer.from(mac, 'hex') };
  } catch {
    return undefined;
  }
}
