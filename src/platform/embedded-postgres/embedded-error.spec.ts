import { explainOutput } from './embedded-error.ts';

describe('a failure of PostgreSQL', () => {
  it.each([
    [
      'no shared memory',
      'FATAL:  could not resize shared memory segment "/PostgreSQL.1804289383" to 1048576 bytes: No space left on device',
      'Starting failed: there is no shared memory left (see /dev/shm).',
    ],
    [
      'a full disk',
      'PANIC:  could not write to file "pg_wal/xlogtemp.7": No space left on device',
      'There is no space left on the disk for /data.',
    ],
    [
      'a quota',
      'initdb: error: could not create directory: Disk quota exceeded',
      'There is no space left on the disk for /data.',
    ],
    [
      'its last error',
      '2026-01-01 LOG:  starting\n2026-01-01 FATAL:  lock file is empty\n2026-01-01 LOG:  database system is shut down\n',
      'Starting failed: lock file is empty.',
    ],
    ['its last line without an error', 'starting\nKilled\n\n', 'Starting failed: Killed.'],
    ['silence', '', 'Starting failed: it gave no reason.'],
  ])('is explained by %s', (_, output, reason) => {
    const { message } = explainOutput('Starting', output, '/data');
    expect(message).toBe(`${reason} Set DATABASE_URL to use a PostgreSQL of your own.`);
  });
});
