import { execFile } from 'node:child_process';
import pg from 'pg';
import { createDatabase } from '../support/database.ts';
import { Fleet, type FleetAccount, Load, type Mix, type Outcome, send } from '../support/fleet.ts';
import { PgBouncer } from '../support/pgbouncer.ts';
import { describeWith } from '../support/programs.ts';
import { keepOutput, secret } from '../support/secrets.ts';
import { eventually, until } from '../support/sign-ins.ts';

/** Far fewer than the instances' pools have together. */
const SERVER_CONNECTIONS = 3;

describeWith('/usr/sbin/pgbouncer')('behind PgBouncer with transaction pooling', () => {
  const started = new AsyncDisposableStack();
  let database: Awaited<ReturnType<typeof createDatabase>>;
  let bouncer: PgBouncer;
  let fleet: Fleet;
  let account: FleetAccount;
  let token: string;

  beforeAll(async () => {
    // Empty: the migrations go by the direct way.
    database = await createDatabase({ migrated: false });
    started.defer(database.drop);
    bouncer = await PgBouncer.start(database.url, SERVER_CONNECTIONS);
    started.defer(() => bouncer.remove());
    const env = { NODE_ENV: 'development', DATABASE_DIRECT_URL: database.url, DATABASE_POOL_SIZE: '10' };
    fleet = await Fleet.start(bouncer.url, env, 2);
    started.defer(() => fleet.remove());
    started.defer(() => {
      for (const { output } of fleet.instances) keepOutput(output);
    });
    secret(fleet.staffToken);
    account = await fleet.newAccount({ scopes: ['calendar:write'] });
    token = await fleet.newToken(account);
    for (const text of [account.password, token]) secret(text);
  });

  afterAll(() => started.disposeAsync());

  async function direct<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    try {
      return await work(client);
    } finally {
      await client.end();
    }
  }

  const pathOf = ({ id }: FleetAccount): string => `/admin/channel-users/${id}`;
  const mix: Mix = {
    call: () => ({ path: '/me', token }),
    token: () => fleet.signIn(account),
    list: () => ({ path: '/admin/channel-users', token: fleet.staffToken }),
    note: () => ({
      method: 'PATCH',
      path: pathOf(account),
      token: fleet.staffToken,
      json: { notes: String(Math.random()) },
    }),
  };

  it('all features for partners and staff work, even in parallel', async () => {
    const [first, second] = [fleet.instance(0), fleet.instance(1)];
    const load = new Load(second.url, mix, 24);
    const other = await fleet.newAccount();
    const otherToken = secret(await fleet.newToken(other, second));
    expect((await send(second.url, { path: '/me', token: otherToken })).status).toBe(200);
    const steps = [
      { method: 'POST', path: `${pathOf(other)}/credentials`, json: { retireOthersInSeconds: null } },
      { method: 'POST', path: `${pathOf(other)}/suspend`, json: { reason: 'test' } },
      { method: 'POST', path: `${pathOf(other)}/reactivate`, json: {} },
      // Under a lock for all instances, of the transaction and not of the session.
      { method: 'POST', path: '/admin/signing-keys/rotate', json: {} },
      { method: 'GET', path: `${pathOf(other)}/activity` },
      { method: 'GET', path: '/admin/audit-events' },
      { method: 'GET', path: '/admin/audit-events/export' },
      { method: 'GET', path: '/admin/channel-users/export' },
      { method: 'GET', path: '/admin/overview' },
      { method: 'POST', path: `${pathOf(other)}/revoke-tokens`, json: { reason: 'test' } },
    ] as const;
    const answers: string[] = [];
    for (const step of steps) {
      const { status, text } = await fleet.admin(step, first);
      answers.push(`${step.path} ${String(Math.floor(status / 100))}xx`);
      for (const [, password] of text.matchAll(/"password":"([^"]+)"/g)) secret(password ?? '');
    }
    expect(answers).toEqual(steps.map(({ path }) => `${path} 2xx`));
    expect((await send(first.url, { path: '/me', token: otherToken })).status).toBe(401);
    await load.further(200);
    await load.stop();
    expect(load.failureKinds).toEqual({});
    const backends = await direct((client) =>
      client.query<{ name: string; count: number }>(
        `SELECT application_name AS name, count(*)::int FROM pg_stat_activity
          WHERE datname = current_database() AND pid <> pg_backend_pid() GROUP BY 1 ORDER BY 1`,
      ),
    );
    const pooled = backends.rows.filter(({ name }) => name !== 'latchkey-changes');
    expect(pooled.reduce((sum, { count }) => sum + count, 0)).toBeLessThanOrEqual(SERVER_CONNECTIONS);
    // Each instance listens on a connection of its own, past the pooler.
    expect(backends.rows.find(({ name }) => name === 'latchkey-changes')?.count).toBe(2);
  });

  it('a change on one instance applies to the other within a second', async () => {
    const victim = await fleet.newAccount();
    const at = fleet.instance(1);
    const itsToken = secret(await fleet.newToken(victim, at));
    expect((await send(at.url, { path: '/me', token: itsToken })).status).toBe(200);
    await fleet.admin({ method: 'POST', path: `${pathOf(victim)}/suspend`, json: { reason: 'test' } });
    const from = performance.now();
    await eventually(async () => {
      const begun = performance.now() - from;
      const { status } = await send(at.url, { path: '/me', token: itsToken });
      if (status === 401) return true;
      expect([status, begun < 1_000]).toEqual([200, true]);
      return undefined;
    }, 'the token is refused');
  });

  it('a start warns about timeouts that the role lacks', async () => {
    const [, instance] = fleet.instances as [Fleet['instances'][0], Fleet['instances'][0]];
    const lacking = (): string[] => instance.complaints.filter((line) => line.includes('The role of DATABASE_URL'));
    expect(lacking().map((line) => / has no (\w+)/.exec(line)?.[1])).toEqual([
      'idle_in_transaction_session_timeout',
      'statement_timeout',
    ]);
    await direct(async (client) => {
      const { rows } = await client.query<{ name: string }>('SELECT quote_ident(current_database()) AS name');
      for (const setting of [`statement_timeout = '3s'`, `idle_in_transaction_session_timeout = '10s'`]) {
        await client.query(`ALTER ROLE CURRENT_USER IN DATABASE ${rows[0]?.name ?? ''} SET ${setting}`);
      }
    });
    // Connections that it has keep what they began with.
    await bouncer.kill();
    await bouncer.run();
    await instance.stop();
    await instance.start();
    expect(lacking()).toHaveLength(2);
  });

  it('a statement that takes too long is ended by the server and answered with 503 in time', async () => {
    await direct(async (client) => {
      await client.query('BEGIN');
      await client.query('LOCK TABLE channel_user IN ACCESS EXCLUSIVE MODE');
      const from = performance.now();
      const { status } = await fleet.admin({ path: '/admin/channel-users' }, fleet.instance(1));
      expect([status, performance.now() - from < 5_000]).toEqual([503, true]);
      await eventually(async () => {
        // On another connection: within a transaction the view stays as it was.
        const waiting = await direct((other) =>
          other.query(
            `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
              AND query LIKE '%channel_user%'`,
          ),
        );
        return waiting.rowCount === 0 ? true : undefined;
      }, 'nothing waits for the lock, though it is still held');
      await client.query('ROLLBACK');
    });
    expect((await fleet.admin({ path: '/admin/channel-users' }, fleet.instance(1))).status).toBe(200);
  });

  it('replacing its process costs at most the requests of that moment, which get 503', async () => {
    const load = new Load(fleet.instance(1).url, mix, 12);
    await load.further(100);
    const moments: { from: number; to: number }[] = [];
    for (let i = 0; i < 2; i++) {
      const from = performance.now();
      await bouncer.replace();
      // Once it has answered a request sent since, the instance has seen that its connections were closed.
      await send(fleet.instance(1).url, { path: '/.well-known/jwks.json' });
      moments.push({ from, to: performance.now() });
      await load.further(150);
    }
    await load.stop();
    // However long a slow machine takes over it: whatever begins afterwards, or ended before, is answered well.
    const isOfMoment = ({ begunAt, endedAt }: Outcome): boolean =>
      moments.some(({ from, to }) => begunAt <= to && endedAt >= from);
    expect(load.failures.filter((outcome) => !isOfMoment(outcome))).toEqual([]);
    expect(Object.keys(load.failureKinds).filter((kind) => !kind.endsWith(': 503'))).toEqual([]);
    expect(load.outcomes.slice(-100).filter(({ status }) => status >= 300)).toEqual([]);
  });

  it('a kill causes only 503s until it is started again', async () => {
    const load = new Load(fleet.instance(1).url, mix, 12);
    await load.further(100);
    await bouncer.kill();
    await load.further(50);
    await bouncer.run();
    const from = load.outcomes.length;
    await until(() => load.outcomes.slice(from).length > 300, 'the load goes on');
    await load.stop();
    expect([...new Set(load.failures.map(({ status }) => status))]).toEqual([503]);
    expect(load.outcomes.slice(-100).filter(({ status }) => status >= 300)).toEqual([]);
  });

  it('the server does not start without the direct connection and quotes PgBouncer', async () => {
    const env = {
      PATH: process.env['PATH'],
      NODE_ENV: 'production',
      DATABASE_URL: bouncer.url,
      PUBLIC_URL: 'https://latchkey.test',
      KEY_ENCRYPTION_KEY: 'cbca1dd2bb72dbc2b9cbb1fb87aeb4d3ed6bd8e11ee2a21c2f0f0ab1e0e0b5a9',
      PORT: '0',
    };
    const { promise, resolve } = Promise.withResolvers<{ code: unknown; stderr: string }>();
    execFile(process.execPath, ['dist/src/main.js'], { env }, (error, _, stderr) => {
      resolve({ code: error?.code, stderr });
    });
    expect(await promise).toEqual({
      code: 1,
      stderr: expect.stringMatching(/cannot be used: unsupported startup parameter/) as string,
    });
  });
});
