import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { type FieldError, InvalidInputError } from '../platform/common/errors.ts';

export const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

/** Writes lines for another program, to a file that only its owner may read or to standard output. */
export async function writeTo(
  file: string | undefined,
  lines: AsyncIterable<string> | Iterable<string>,
): Promise<void> {
  if (file === undefined) return pipeline(lines, process.stdout, { end: false });
  // Opens the file first, so that an error of the lines is not reported as an error of the file.
  const target = createWriteStream(file, { mode: 0o600 });
  await once(target, 'open').catch((error: unknown) => {
    throw new InvalidInputError([], `${file} cannot be written: ${(error as Error).message}`);
  });
  await pipeline(lines, target);
}

/** Prints `email must be an e-mail address`, for example, or `line 17 username is taken` for a row of a file. */
export function sayFieldError({ field, messages }: FieldError): void {
  const words = field.replace(/^rows\.(\d+)\.?/, 'line $1 ').trim();
  process.stderr.write(`  ${words === '' ? '' : `${words} `}${messages.join(', ')}\n`);
}

/** The option of every command that records a reason. */
export const REASON = ['--reason <text>', 'reason to record in the audit trail'] as const;
