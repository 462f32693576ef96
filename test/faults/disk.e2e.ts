import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import pg from 'pg';
import { createDatabase } from '../support/database.ts';
import { FaultLoad, report } from '../support/fault-load.ts';
import { FaultServer } from '../support/fault-server.ts';
import { keepOutput } from '../support/secrets.ts';
import { SmallDisk } from '../support/small-disk.ts';
import { eventually } from '../support/sign-ins.ts';

let server: FaultServer | undefined;
afterEach(async () => {
  await server?.remove();
  server = undefined;
});

describe('the log', () => {
  let database: Awaited<ReturnType<typeof createDatabase>>;
  beforeEach(async () => {
    database = await createDatabase();
  });
  afterEach(async () => {
    await server?.remove();
    await database.drop();
  });

  it.each([
    ['goes to a full disk', '/dev/full', () => undefined],
    [
      'has lost its reader',
      undefined,
      (running: FaultServer) => {
        running.process.closeStdout();
      },
    ],
  ])('does not affect the work or the stop of the server: %s', async (what, output, fail) => {
    server = await FaultServer.start({ DATABASE_URL: database.url }, output === undefined ? {} : { output });
    const load = await FaultLoad.prepare(server, await server.adminToken());
    try {
      fail(server);
      const begun = performance.now();
      await load.begin();
      report(`the log ${what}`, load.seen(begun), 0);
      load.unharmed(begun);
      await load.verify();
      expect(await load.missingActivity()).toEqual([]);
    } finally {
      await load.end();
    }
    expect(await server.stop()).toBe(0);
  });
});

describe('the embedded database', () => {
  const postmasterOf = async (dataDir: string): Promise<number> =>
    Number((await readFile(path.join(dataDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n')[0]);

  it('is restarted when it is killed', async () => {
    const dataDir = await mkdtemp(path.join(tmpdir(), 'latchkey-embedded-'));
    try {
      server = await FaultServer.start({ LATCHKEY_DATA_DIR: dataDir });
      const load = await FaultLoad.prepare(server, await server.adminToken());
      try {
        await load.begin();
        const begun = performance.now();
        const lines = server.log.length;
        process.kill(await postmasterOf(dataDir), 'SIGKILL');
        await load.fails('provision');
        await server.logs(/^The embedded PostgreSQL has ended by itself/, lines);
        const recovery = await load.recovered(begun, 30_000);
        await server.logs(/^The embedded PostgreSQL runs again$/, lines);
        report('embedded PostgreSQL killed (time since then)', load.seen(begun), recovery);
        expect(recovery).toBeLessThan(10_000);
        await load.verify();
        expect(await load.missingActivity()).toEqual([]);
      } finally {
        await load.end();
      }
      const postmaster = await postmasterOf(dataDir);
      expect(await server.stop()).toBe(0);
      expect(() => process.kill(postmaster, 0)).toThrow('ESRCH');
    } finally {
      await server?.remove();
      await rm(dataDir, { recursive: true, force: true });
    }
  });

  const disk = SmallDisk.mount(160);
  if (!disk) process.stdout.write('disk.e2e.ts: the full disk is skipped, since no tmpfs can be mounted here\n');
  afterAll(() => {
    disk?.unmount();
  });

  (disk ? it : it.skip)('survives a full disk together with its log', async () => {
    if (!disk) throw new Error('Skipped');
    const [dataDir, output] = [path.join(disk.folder, 'data'), path.join(disk.folder, 'log')];
    server = await FaultServer.start({ LATCHKEY_DATA_DIR: dataDir }, { output });
    try {
      const load = await FaultLoad.prepare(server, await server.adminToken());
      try {
        await load.begin();
        const begun = performance.now();
        disk.fill();
        await crowd(dataDir);
        await load.fails('provision', 'change', 'rotate');
        await server.shows('latchkey_database_errors_total', (errors) => errors > 0);
        disk.free();
        const [freed, freedAt] = [performance.now(), Date.now()];
        const recovery = await load.recovered(freed, 30_000);
        report('disk of the embedded database and of the log full', load.seen(begun), recovery);
        expect(recovery).toBeLessThan(15_000);
        await load.verify();
        expect(await load.missingActivity()).toEqual([]);
        // The log goes on, and no line of it is torn.
        await eventually(async () => {
          const lines = (await readFile(output, 'utf8')).split('\n').filter((line) => line.startsWith('{'));
          const last = JSON.parse(lines.at(-2) ?? '{}') as { time?: string };
          return Date.parse(last.time ?? '') > freedAt ? true : undefined;
        }, 'the log goes on');
      } finally {
        await load.end();
      }
      expect(await server.stop()).toBe(0);
      keepOutput((await readFile(output, 'utf8')).replace(/^(Admin password: |curl ).*$/gm, ''));
    } finally {
      // Before the disk goes.
      await server.remove();
    }
  });
});

/** Fills the log of PostgreSQL, so that it needs room for more: that is the moment when it gives up. */
async function crowd(dataDir: string): Promise<void> {
  const [, , , port] = (await readFile(path.join(dataDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n');
  const password = (await readFile(path.join(dataDir, 'database-password'), 'utf8')).trim();
  const client = new pg.Client(`postgres://latchkey:${password}@127.0.0.1:${String(port)}/latchkey`);
  client.on('error', () => undefined);
  await client.connect();
  try {
    for (let i = 0; i < 3; i++)
      await client.query('SELECT pg_switch_wal(), pg_logical_emit_message(true, $1, $2)', ['', '']);
  } catch {
    // It gave up.
  } finally {
    await client.end().catch(() => undefined);
  }
}
