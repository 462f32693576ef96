import type { Client } from 'pg';
import { PARTNERS_SEED } from '../test/support/list-plans.ts';
import { passwordSql } from './accounts.ts';
import { withClient } from './database.ts';
import { withoutIndexes } from './seed.ts';
import { interruption, tell } from './terminal.ts';

/** How much there is. */
export interface PlanScale {
  readonly partners: number;
  readonly signIns: number;
  readonly events: number;
}

/** Days of sign-ins: the default of ACTIVITY_RETENTION_DAYS. */
const DAYS = 90;
/** The first partners have passwords that the benchmark knows, see `accounts.ts`. */
export const WITH_PASSWORD = 500;
/** Days are filled on so many connections at once. */
const CONNECTIONS = 2;

/**
 * A day of sign-ins. Each partner signs in at regular intervals; of ten attempts one is refused, for a wrong password.
 * The first partner obtains a hundredth of all tokens by itself. The rows stand in the order of time, as they are written.
 */
const SIGN_INS_OF_DAY = (partition: string): string => `
  INSERT INTO ${partition} (day, id, channel_user_id, at, address, outcome, error_code, reason, credential_id, request_id,
    user_agent, count, minute)
  SELECT $1::date, gen_random_uuid(), id, least($1::date + (n % 86400) * interval '1 second', now()), '192.0.2.7',
    CASE WHEN is_refused THEN 'refused' ELSE 'token' END, CASE WHEN is_refused THEN 'invalid_grant' END,
    CASE WHEN is_refused THEN 'wrong_password' END, CASE WHEN NOT is_refused THEN credential_id END,
    gen_random_uuid()::text, 'partner-client/1.0', 1, CASE WHEN is_refused THEN $1::date + (n % 1440) * interval '1 minute' END
  FROM (
    SELECT id, credential_id, n, n % 10 = 9 AS is_refused FROM bench_partner WHERE n > 1 AND n % $2 = $3
    UNION ALL
    SELECT id, credential_id, attempt * (86400 / $4::int), false FROM bench_partner, generate_series(1, $4::int) AS attempt
      WHERE n = 1
  ) AS attempt
  ORDER BY n % 86400`;

/** By staff all but a few, which are the oldest. Older than the chain of MACs, which the server begins after them. */
const EVENTS = `
  INSERT INTO audit_event (id, at, actor_type, actor_id, action, target_type, target_id, target_personal, changes)
  SELECT gen_random_uuid(), now() - ($1 - event) * interval '10 seconds',
    CASE WHEN event < 5 THEN 'cli' WHEN event < 10 THEN 'system' ELSE 'staff' END,
    CASE WHEN event >= 10 THEN md5('staff' || event % 20)::uuid END,
    (ARRAY['channel-user.updated', 'channel-user.created', 'credential.revoked', 'grant.given'])[1 + event % 4],
    'channel-user', bench_partner.id, '\\x00', '{"displayName": ["Partner", "Partner Ltd"]}'
  FROM generate_series(1, $1::int) AS event JOIN bench_partner ON n = 1 + event % $2
  ORDER BY event`;

/** What lists and jobs read beside these. Each takes the number of partners as $1. */
const OTHERS: [table: string, statement: string][] = [
  [
    // An hour of today for each credential; of one in ten, an hour whose time to be deleted has come.
    'credential_usage',
    `INSERT INTO credential_usage (credential_id, hour, writer, calls, last_at)
     SELECT credential_id, hour, md5('writer')::uuid, n, hour FROM bench_partner,
       LATERAL (VALUES (date_trunc('hour', now()), 1), (date_trunc('hour', now()) - interval '9 days', 10)) AS row (hour, every)
     WHERE n % every = 0 AND n <= $1`,
  ],
  [
    'sign_in_hour',
    `INSERT INTO sign_in_hour SELECT date_trunc('hour', now()) - hour * interval '1 hour', md5('writer' || writer)::uuid, 9000, 1000
     FROM generate_series(0, 300) AS hour, generate_series(1, 3) AS writer WHERE $1 > 0`,
  ],
  [
    'resource_grant',
    `INSERT INTO resource_grant (channel_user_id, resource_type, resource_id)
     SELECT id, 'property', CASE WHEN n % 10 = 0 THEN 'shared' ELSE n::text END FROM bench_partner WHERE n <= $1`,
  ],
  [
    'revoked_token',
    `INSERT INTO revoked_token SELECT gen_random_uuid(), now() + (CASE WHEN n % 2 = 0 THEN 1 ELSE -1 END) * interval '1 hour', now()
     FROM generate_series(1, $1 / 10) AS n`,
  ],
  [
    'handover',
    `INSERT INTO handover (id, channel_user_id, credential_id, secret_hash, sealed_password, created_at, expires_at)
     SELECT gen_random_uuid(), id, credential_id, sha256(n::text::bytea), '\\x00', now() - interval '8 days', now() - interval '1 day'
     FROM bench_partner WHERE n % 100 = 0 AND n <= $1`,
  ],
  [
    'webhook',
    `INSERT INTO webhook (id, url, events, enabled, sealed_secret, updated_at)
     SELECT gen_random_uuid(), '', '{}', false, '\\x00', now() WHERE $1 > 0`,
  ],
  [
    'notice',
    `INSERT INTO notice (id, type, once, channel_user_id, data, created_at)
     SELECT notice_id(now() - n * interval '1 second'),
       CASE WHEN n % 5 = 0 THEN 'channel_user.suspended' ELSE 'credential.rotated' END, 'bench:' || n, id,
       jsonb_build_object('channelUser', jsonb_build_object('id', id, 'username', '', 'displayName', '')), now() - n * interval '1 second'
     FROM bench_partner WHERE n % 5 = 0 AND n <= $1`,
  ],
  [
    'notice_delivery',
    `INSERT INTO notice_delivery (notice_id, webhook_id, state, attempts)
     SELECT id, (SELECT id FROM webhook), CASE WHEN random() < 0.001 THEN 'given-up' ELSE 'delivered' END, 1 FROM notice WHERE $1 > 0`,
  ],
  [
    // As after many changes of single partners since the last merge.
    'channel_user_tally',
    `INSERT INTO channel_user_tally (scope, accounts) SELECT 'calendar:write', CASE WHEN n % 2 = 0 THEN 1 ELSE -1 END
     FROM generate_series(1, least($1, 2000)) AS n`,
  ],
];

async function fillDay(client: Client, day: string, index: number, { partners, signIns }: PlanScale): Promise<void> {
  const partition = `activity_${day.replaceAll('-', '')}`;
  await client.query(
    `CREATE TABLE IF NOT EXISTS ${partition} (LIKE activity INCLUDING DEFAULTS INCLUDING CONSTRAINTS)`,
  );
  const ofFirst = Math.round(signIns / 100 / DAYS);
  const every = Math.max(1, Math.round((partners * DAYS) / (signIns * 0.99)));
  await client.query(SIGN_INS_OF_DAY(partition), [day, every, index % every, ofFirst]);
  // Attaching builds the indexes, which is faster than filling them.
  await client.query(
    `ALTER TABLE activity ATTACH PARTITION ${partition} FOR VALUES FROM ('${day}') TO (date '${day}' + 1)`,
  );
}

async function fillActivity(url: string, scale: PlanScale): Promise<void> {
  const today = Date.now();
  const days = Array.from({ length: DAYS }, (_, i) => new Date(today - i * 86_400_000).toISOString().slice(0, 10));
  const due = days.entries();
  const fill = async (client: Client): Promise<void> => {
    await client.query('SET synchronous_commit = off');
    for (const [index, day] of due) {
      interruption.throwIfAborted();
      await fillDay(client, day, index, scale);
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, () => withClient(url, fill)));
}

/** Fills a migrated database that no server has used yet. */
export async function seedForPlans(url: string, scale: PlanScale): Promise<void> {
  await withClient(url, async (client) => {
    await client.query('SET synchronous_commit = off');
    tell(`${scale.partners.toLocaleString('en')} partners`);
    const [partners = '', ...ofPartners] = PARTNERS_SEED;
    await withoutIndexes(client, ['channel_user', 'channel_user_use'], () => client.query(partners, [scale.partners]));
    // From here on without triggers and foreign keys. Those of partners keep counts and last uses.
    await client.query('SET session_replication_role = replica');
    await withoutIndexes(client, ['credential', 'sign_in_failure'], async () => {
      for (const statement of ofPartners) await client.query(statement, [scale.partners]);
    });
    await client.query(
      `CREATE UNLOGGED TABLE bench_partner AS SELECT right(username, 7)::int AS n, channel_user.id, credential.id AS credential_id
       FROM channel_user JOIN credential ON channel_user_id = channel_user.id`,
    );
    await client.query(
      `UPDATE credential SET secret_hash = '$sha256$' || rtrim(translate(encode(
           sha256(convert_to(${passwordSql('n')}, 'UTF8')), 'base64'), '+/', '-_'), '=')
       FROM bench_partner WHERE credential.id = credential_id AND n <= $1`,
      [WITH_PASSWORD],
    );
    interruption.throwIfAborted();
    tell(`${scale.events.toLocaleString('en')} audit events`);
    await withoutIndexes(client, ['audit_event'], () => client.query(EVENTS, [scale.events, scale.partners]));
    tell('what lists and jobs read beside these');
    for (const [table, statement] of OTHERS) {
      await withoutIndexes(client, [table], () => client.query(statement, [scale.partners]));
    }
    tell(`${scale.signIns.toLocaleString('en')} sign-ins`);
    await fillActivity(url, scale);
    await client.query('DROP TABLE bench_partner');
    // VACUUM marks a page as visible to all only when the commits of its rows are on disk.
    await client.query('SET synchronous_commit = on');
    tell('vacuum');
    await client.query('VACUUM ANALYZE');
  });
}
