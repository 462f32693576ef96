/** The embedded PostgreSQL cannot run; the message is for a person and names the way out. */
export class EmbeddedPostgresError extends Error {
  constructor(reason: string, cause?: unknown) {
    super(`${reason} Set DATABASE_URL to use a PostgreSQL of your own.`, cause === undefined ? undefined : { cause });
    this.name = 'EmbeddedPostgresError';
  }
}

/** Reads an error of the file system or of a program's output for what a person can mend. */
export function explain(what: string, cause: unknown, output = ''): EmbeddedPostgresError {
  if (cause instanceof EmbeddedPostgresError) return cause;
  const { code, message = '', path = '' } = cause as { code?: string; message?: string; path?: string };
  if (code === 'ENOSPC' || /no space left on device/i.test(output + message)) {
    return new EmbeddedPostgresError(`${what}: the disk is full.`, cause);
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new EmbeddedPostgresError(`${what}: ${path} cannot be written (${code}).`, cause);
  }
  const lastLine = output.trim().split('\n').at(-1);
  return new EmbeddedPostgresError(
    `${what}: ${lastLine === undefined || lastLine === '' ? message : lastLine}.`,
    cause,
  );
}
