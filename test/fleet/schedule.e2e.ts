import pg from 'pg';
import { createDatabase } from '../support/database.ts';
import { Fleet, send } from '../support/fleet.ts';
import { isLong } from '../support/long.ts';
import { realTime } from '../support/real-time.ts';
import { secret } from '../support/secrets.ts';
import { until } from '../support/sign-ins.ts';

/** Each instance looks once a minute. */
const LOOK_MS = 60_000;

// Two minutes of waiting.
(isLong ? it : it.skip)('rotates old keys on one of three instances, and all sign with the new key', async () => {
  const database = await createDatabase();
  const fleet = await Fleet.start(database.url);
  const client = new pg.Client({ connectionString: database.url });
  try {
    await client.connect();
    secret(fleet.staffToken);
    const account = await fleet.newAccount();
    secret(account.password);
    await client.query(
      `UPDATE signing_key SET created_at = created_at - interval '200 days', activated_at = activated_at - interval '200 days'`,
    );
    const { rows: before } = await client.query<{ kid: string }>(
      `SELECT kid FROM signing_key WHERE state = 'published' AND purpose = 'partner'`,
    );
    const rotated = async (): Promise<number> => {
      const { rows } = await client.query<{ count: number }>(
        `SELECT count(*)::int FROM audit_event WHERE action = 'signing-key.activated'`,
      );
      return rows[0]?.count ?? 0;
    };
    await until(async () => (await rotated()) > 0, 'the keys are rotated', 2 * LOOK_MS);
    await realTime('every instance looks at the schedule');
    const { rows } = await client.query(
      `SELECT purpose, state, count(*)::int FROM signing_key GROUP BY 1, 2 ORDER BY purpose, state`,
    );
    expect(rows).toEqual(
      ['partner', 'staff'].flatMap((purpose) =>
        ['active', 'published', 'retiring'].map((state) => ({ purpose, state, count: 1 })),
      ),
    );
    expect(await rotated()).toBe(2);
    for (const instance of fleet.instances) {
      const token = secret(await fleet.newToken(account, instance));
      const { kid } = JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()) as { kid: string };
      expect(kid).toBe(before[0]?.kid);
      for (const { url } of fleet.instances) expect((await send(url, { path: '/me', token })).status).toBe(200);
      expect(instance.complaints).toEqual([]);
    }
  } finally {
    await client.end();
    await fleet.remove();
    await database.drop();
  }
});
