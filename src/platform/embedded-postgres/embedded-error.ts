import { OperatorError } from '../common/operator-error.ts';

/** The embedded PostgreSQL cannot be used. The message is for an operator, and says what to do. */
export class EmbeddedPostgresError extends OperatorError {
  /**
   * @param reason one or two complete sentences
   * @param options the cause
   */
  constructor(reason: string, options?: ErrorOptions) {
    super(`${reason} Set DATABASE_URL to use a PostgreSQL of your own.`, options);
  }
}

/** The error code of the operating system (`ENOENT`, …), if it is such an error. */
export function errorCode(error: unknown): string | undefined {
  return Error.isError(error) ? (error as NodeJS.ErrnoException).code : undefined;
}

const DISK_FULL = new Set(['ENOSPC', 'EDQUOT']);
const FORBIDDEN = new Set(['EACCES', 'EPERM', 'EROFS']);
const NO_DIRECTORY = new Set(['ENOTDIR', 'EEXIST']);

/**
 * Explains an error to an operator.
 *
 * @param error anything caught; an EmbeddedPostgresError is returned unchanged
 * @param place the file or directory to name when the error names none
 */
export function explainError(error: unknown, place: string): EmbeddedPostgresError {
  if (error instanceof EmbeddedPostgresError) return error;
  const { message, path = place }: NodeJS.ErrnoException = Error.isError(error) ? error : new Error(String(error));
  const because = { cause: error };
  const code = errorCode(error) ?? '';
  if (DISK_FULL.has(code)) return new EmbeddedPostgresError(`There is no space left on the disk for ${path}.`, because);
  if (FORBIDDEN.has(code)) return new EmbeddedPostgresError(`Latchkey may not use ${path} (${message}).`, because);
  if (NO_DIRECTORY.has(code)) return new EmbeddedPostgresError(`${path} is not a directory.`, because);
  return new EmbeddedPostgresError(`The embedded PostgreSQL did not start: ${message}.`, because);
}

/**
 * Explains a failure of `postgres` or `initdb` by its output.
 *
 * @param what what failed, as the subject of a sentence
 * @param output the program's log or standard error
 * @param place the file or directory that the program worked on
 */
export function explainOutput(what: string, output: string, place: string): EmbeddedPostgresError {
  const cause = new Error(output.trim() || 'It wrote nothing.');
  if (/shared memory.*No space left on device/.test(output)) {
    return new EmbeddedPostgresError(`${what} failed: there is no shared memory left (see /dev/shm).`, { cause });
  }
  if (/No space left on device|Disk quota exceeded/.test(output)) {
    return new EmbeddedPostgresError(`There is no space left on the disk for ${place}.`, { cause });
  }
  const lines = output.split('\n').filter((line) => line.trim() !== '');
  const line = lines.findLast((each) => /\b(FATAL|PANIC|error):/.test(each)) ?? lines.at(-1) ?? 'it gave no reason';
  const said = line.replace(/^.*?\b(?:FATAL|PANIC|error):\s*/, '').trim();
  return new EmbeddedPostgresError(`${what} failed: ${said}.`, { cause });
}
