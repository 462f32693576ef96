import pg from 'pg';
import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../../src/platform/database/data-source.ts';
import { revertMigration, runMigrations } from '../../src/platform/database/migrate.ts';
import { CORE_MIGRATIONS, loadMigrations } from '../../src/platform/database/migration-folders.ts';
import { TestApp } from '../support/app.ts';
import { createDatabase } from '../support/database.ts';

type Row = Record<string, string | null>;
/** Rows of a table by their primary key, every value as text. */
type Content = Map<string, Map<string, Row>>;

/** A row of every column it ever had; a schema takes those that it has. */
interface Fixture {
  table: string;
  row: Record<string, unknown>;
  /** The first schema that the row fits, from 1. */
  from?: number;
}

const uuid = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
const EARLY = '0001-01-01T00:00:00Z';
const LATE = '9999-12-31T23:59:59.999Z';
const BYTES = '\\x00ff80';
const LONG = '\u00e4\u2028"\\\n'.repeat(2_000);
const MAX_INTEGER = 2_147_483_647;
const MAX_BIGINT = '9223372036854775807';
const YESTERDAY = new Date(Date.now() - 3 * 3_600_000);
const RECENT_DAY = YESTERDAY.toISOString().slice(0, 10);

const key = (kid: string, purpose: string, more: Record<string, unknown>): Record<string, unknown> => ({
  kid,
  purpose,
  public_jwk: { kty: 'EC', x: LONG },
  private_key: BYTES,
  created_at: '2026-01-01T00:00:00.123Z',
  retired_at: null,
  activated_at: null,
  verifies_until: null,
  revoked_at: null,
  ...more,
});
const account = (n: number, more: Record<string, unknown>): Record<string, unknown> => ({
  id: uuid(n),
  username: `User.${String(n)}`,
  username_key: `user.${String(n)}`,
  display_name: 'D',
  contact_email: null,
  external_id: null,
  suspended_at: null,
  expires_at: null,
  scopes: [],
  token_ttl_seconds: 60,
  tokens_per_minute: 1,
  allowed_ips: [],
  notes: null,
  search_text: '',
  epoch: 0,
  version: 1,
  created_at: EARLY,
  updated_at: EARLY,
  last_token_at: null,
  tokens_revoked_at: null,
  ...more,
});
const credential = (n: number, of: number, more: Record<string, unknown>): Record<string, unknown> => ({
  id: uuid(n),
  channel_user_id: uuid(of),
  label: 'initial',
  fingerprint: null,
  secret_hash: '$sha256$x',
  keyed_hash: null,
  created_at: EARLY,
  expires_at: null,
  superseded: false,
  revoked_at: null,
  pending: false,
  activated_at: null,
  withdrawn_at: null,
  retire_seconds: null,
  begun_by: null,
  begun_by_id: null,
  proved_by: null,
  reported_leaked_at: null,
  last_used_at: null,
  last_used_address: null,
  last_used_user_agent: null,
  ...more,
});
const member = (n: number, more: Record<string, unknown>): Record<string, unknown> => ({
  id: uuid(n),
  email: `S${String(n)}@x.example`,
  email_key: `s${String(n)}@x.example`,
  name: LONG,
  role: 'admin',
  password_hash: '$argon2id$x',
  created_at: EARLY,
  last_sign_in_at: null,
  second_factor_at: null,
  totp_secret: null,
  pending_totp_secret: null,
  last_totp_step: null,
  totp_attempts: 0,
  oidc_issuer: null,
  oidc_subject: null,
  break_glass: false,
  ...more,
});
const sealed = {
  actor_type: 'staff',
  actor_id: uuid(301),
  actor_personal: BYTES,
  action: 'channel-user.created',
  target_type: 'channel-user',
  target_id: uuid(101),
  target_personal: BYTES,
  changes: { scopes: [null, ['a', LONG]], n: [1.5, 1e20] },
  request_id: 'r',
};
const activity = (n: number, more: Record<string, unknown>): Record<string, unknown> => ({
  day: '2020-02-29',
  id: uuid(n),
  channel_user_id: uuid(101),
  at: '2020-02-29T23:59:59.999Z',
  address: null,
  outcome: 'refused',
  error_code: null,
  reason: null,
  credential_id: null,
  request_id: 'r',
  user_agent: null,
  count: 1,
  minute: null,
  ...more,
});

/** Modules prove theirs where they stand. */
const CORE = [CORE_MIGRATIONS];
const migrations = await loadMigrations(CORE);
const names = migrations.map(({ name }) => name);

const PENDING = 'PendingCredentials1796800000000';
const SINGLE_SIGN_ON = 'SingleSignOn1796840000000';

const FIXTURES: Fixture[] = [
  { table: 'signing_key', row: key('k1', 'partner', { id: uuid(1), state: 'active', activated_at: LATE }) },
  { table: 'signing_key', row: key('k2', 'staff', { id: uuid(2), state: 'active' }) },
  {
    table: 'signing_key',
    row: key('k3', 'partner', {
      id: uuid(3),
      state: 'retiring',
      retired_at: '2026-03-01T12:00:00.5Z',
      verifies_until: '2026-03-02T12:00:00.5Z',
    }),
  },
  { table: 'signing_key', row: key('k4', 'staff', { id: uuid(4), state: 'published' }), from: 3 },
  { table: 'signing_key', row: key('k5', 'partner', { id: uuid(5), state: 'revoked', revoked_at: LATE }), from: 3 },
  {
    table: 'signing_key',
    row: key('k6', 'partner', { id: uuid(6), state: 'retired', verifies_until: EARLY }),
    from: 3,
  },

  { table: 'channel_user', row: account(101, {}) },
  {
    table: 'channel_user',
    row: account(102, {
      contact_email: 'a@b.example',
      external_id: 'CRM-1',
      suspended_at: LATE,
      expires_at: LATE,
      scopes: ['a', 'b:c'],
      token_ttl_seconds: 86_400,
      tokens_per_minute: MAX_INTEGER,
      allowed_ips: ['192.0.2.0/24', '2001:db8::/32'],
      notes: LONG,
      search_text: LONG,
      epoch: MAX_INTEGER,
      version: MAX_INTEGER,
      last_token_at: LATE,
      tokens_revoked_at: LATE,
    }),
  },
  {
    table: 'channel_user_use',
    row: { channel_user_id: uuid(101), created_at: EARLY, last_token_at: '-infinity' },
  },
  { table: 'channel_user_use', row: { channel_user_id: uuid(102), created_at: EARLY, last_token_at: LATE } },
  { table: 'channel_user_tally', row: { id: 1_000_001, scope: null, accounts: 2 } },
  { table: 'channel_user_tally', row: { id: MAX_BIGINT, scope: 'a', accounts: 1 } },
  { table: 'credential', row: credential(201, 101, {}) },
  {
    table: 'credential',
    row: credential(202, 101, {
      keyed_hash: 'x',
      fingerprint: 'deadbeef',
      secret_hash: '$2b$10$x',
      expires_at: LATE,
      revoked_at: EARLY,
      last_used_at: LATE,
      last_used_address: '192.0.2.1',
      last_used_user_agent: LONG,
    }),
  },
  { table: 'credential', row: credential(203, 102, { expires_at: LATE, superseded: true }) },
  { table: 'credential', row: credential(204, 102, { created_at: '2026-01-01T00:00:00Z' }) },
  { table: 'credential', row: credential(205, 101, { created_at: LATE, revoked_at: EARLY }) },
  { table: 'credential', row: credential(206, 101, { created_at: '2026-01-01T00:00:00Z', expires_at: LATE }) },
  {
    table: 'credential',
    row: credential(207, 101, {
      created_at: '2026-01-01T00:00:00Z',
      revoked_at: LATE,
      pending: true,
      activated_at: LATE,
      withdrawn_at: LATE,
      retire_seconds: MAX_INTEGER,
      begun_by: 'account',
      begun_by_id: uuid(301),
      proved_by: uuid(201),
      reported_leaked_at: LATE,
    }),
    from: names.indexOf(PENDING) + 1,
  },
  { table: 'staff', row: member(301, {}) },
  {
    table: 'staff',
    row: member(302, {
      role: 'viewer',
      last_sign_in_at: LATE,
      second_factor_at: EARLY,
      totp_secret: BYTES,
      pending_totp_secret: BYTES,
      last_totp_step: MAX_INTEGER,
      totp_attempts: 50,
    }),
  },
  {
    table: 'staff',
    row: member(303, { oidc_issuer: 'https://login.example', oidc_subject: LONG }),
    from: names.indexOf(SINGLE_SIGN_ON) + 1,
  },
  {
    table: 'staff_session',
    row: {
      id: uuid(401),
      staff_id: uuid(301),
      created_at: EARLY,
      expires_at: LATE,
      by_cookie: true,
      last_seen_at: EARLY,
      authenticated_at: LATE,
      oidc_sid: null,
      id_token: null,
    },
  },
  {
    table: 'staff_session',
    row: {
      id: uuid(402),
      staff_id: uuid(303),
      created_at: EARLY,
      expires_at: LATE,
      by_cookie: true,
      last_seen_at: EARLY,
      authenticated_at: EARLY,
      oidc_sid: LONG,
      id_token: BYTES,
    },
    from: names.indexOf(SINGLE_SIGN_ON) + 1,
  },
  { table: 'used_logout_token', row: { id_hash: 'h', expires_at: LATE } },
  { table: 'personal_key', row: { subject_id: uuid(101), wrapped_key: BYTES, created_at: EARLY } },
  {
    table: 'audit_event',
    row: {
      seq: 1,
      id: uuid(501),
      at: EARLY,
      ...sealed,
      actor_id: null,
      actor_personal: null,
      request_id: null,
      mac: null,
    },
  },
  { table: 'audit_event', row: { seq: 9_000_000_000, id: uuid(502), at: LATE, ...sealed, mac: BYTES } },
  { table: 'quickstart', row: { id: true, issuer: 'http://localhost:3000', provisioned_at: LATE } },

  { table: 'activity', row: activity(601, {}) },
  {
    table: 'activity',
    row: activity(602, {
      address: '192.0.2.1',
      outcome: 'token',
      error_code: 'too_many_requests',
      reason: 'wrong_password',
      credential_id: uuid(201),
      user_agent: LONG,
      count: MAX_INTEGER,
      minute: '2020-02-29T23:59:00Z',
    }),
  },
  ...[603, 604].map((n) => ({
    table: 'activity',
    row: activity(n, {
      day: RECENT_DAY,
      at: YESTERDAY,
      outcome: n === 603 ? 'token' : 'refused',
      count: n === 603 ? 1 : 7,
      reason: n === 603 ? null : 'wrong_password',
      channel_user_id: uuid(n === 603 ? 101 : 102),
    }),
  })),
  { table: 'revoked_token', row: { jti: uuid(701), expires_at: LATE, revoked_at: EARLY } },
  { table: 'recovery_code', row: { staff_id: uuid(302), code_hash: 'x' } },
  { table: 'settings', row: { id: true, second_factor_required: true, local_sign_in: 'break-glass' } },
  {
    table: 'handover',
    row: {
      id: uuid(801),
      channel_user_id: uuid(101),
      credential_id: uuid(201),
      secret_hash: BYTES,
      sealed_password: BYTES,
      created_at: EARLY,
      created_by: null,
      expires_at: LATE,
      revealed_at: null,
      revealed_address: null,
      revoked_at: null,
      refusals: 0,
    },
  },
  {
    table: 'handover',
    row: {
      id: uuid(802),
      channel_user_id: uuid(101),
      credential_id: uuid(202),
      secret_hash: '\\x01',
      sealed_password: null,
      created_at: EARLY,
      created_by: uuid(301),
      expires_at: LATE,
      revealed_at: LATE,
      revealed_address: '::1',
      revoked_at: LATE,
      refusals: 10,
    },
  },
  ...[811, 812].map((n) => ({
    table: 'password_link',
    row: {
      id: uuid(n),
      staff_id: uuid(302),
      secret_hash: n === 811 ? BYTES : '\\x01',
      created_at: EARLY,
      created_by: n === 811 ? null : uuid(301),
      expires_at: LATE,
      used_at: n === 811 ? null : LATE,
      revoked_at: n === 811 ? null : LATE,
      refusals: n === 811 ? 0 : 10,
    },
  })),
  ...[301, 302].map((n) => ({
    table: 'staff_sign_in_failure',
    row: {
      staff_id: uuid(n),
      hour: EARLY,
      reason: 'wrong_password',
      count: MAX_INTEGER,
      last_at: LATE,
      last_address: n === 301 ? null : '::1',
    },
  })),
  {
    table: 'sign_in_failure',
    row: { channel_user_id: uuid(101), since: EARLY, last_at: LATE, reason: 'x', refusals: MAX_BIGINT, token_at: null },
  },
  {
    table: 'sign_in_failure',
    row: { channel_user_id: uuid(102), since: EARLY, last_at: LATE, reason: 'x', refusals: 0, token_at: EARLY },
  },
  { table: 'sign_in_hour', row: { hour: EARLY, writer: uuid(901), tokens: MAX_BIGINT, refused: 0 } },
  {
    table: 'credential_usage',
    row: { credential_id: uuid(201), hour: EARLY, writer: uuid(901), calls: MAX_BIGINT, last_at: LATE },
  },
  {
    table: 'call_count',
    row: {
      channel_user_id: uuid(101),
      hour: EARLY,
      route: LONG,
      method: 'GET',
      status_class: 5,
      writer: uuid(901),
      calls: MAX_BIGINT,
    },
  },
  ...[911, 912].map((n) => ({
    table: 'call_error',
    row: {
      id: uuid(n),
      channel_user_id: uuid(101),
      at: EARLY,
      method: 'GET',
      route: LONG,
      status: 599,
      code: n === 911 ? null : 'x',
      reason: 'x',
      request_id: uuid(921),
      count: MAX_INTEGER,
      minute: n === 911 ? null : LATE,
    },
  })),
  {
    table: 'audit_chain',
    row: {
      id: true,
      wrapped_key: BYTES,
      genesis_sequence: 1,
      genesis_events: 1,
      genesis_mac: BYTES,
      sequence: 9_000_000_000,
      mac: BYTES,
      at: LATE,
      verified: BYTES,
    },
  },
  {
    table: 'webhook',
    row: {
      id: uuid(1001),
      url: 'https://receiver.example/',
      sealed_url: null,
      description: LONG,
      events: ['credential.rotated'],
      enabled: true,
      disabled_reason: null,
      sealed_secret: BYTES,
      sealed_previous_secret: BYTES,
      previous_secret_until: LATE,
      created_at: EARLY,
      updated_at: LATE,
    },
  },
  {
    table: 'webhook',
    row: {
      id: uuid(1002),
      url: 'https://other.example',
      sealed_url: BYTES,
      description: null,
      events: [],
      enabled: false,
      disabled_reason: 'gone',
      sealed_secret: BYTES,
      sealed_previous_secret: null,
      previous_secret_until: null,
      created_at: LATE,
      updated_at: EARLY,
    },
  },
  ...[1011, 1012].map((n) => ({
    table: 'notice',
    row: {
      id: uuid(n),
      type: 'credential.rotated',
      once: `once ${String(n)}`,
      channel_user_id: n === 1011 ? uuid(101) : null,
      data: { text: LONG },
      created_at: n === 1011 ? EARLY : LATE,
    },
  })),
  {
    table: 'notice_delivery',
    row: {
      id: uuid(1021),
      notice_id: uuid(1011),
      webhook_id: uuid(1001),
      state: 'failed',
      attempts: MAX_INTEGER,
      next_attempt_at: LATE,
      claim: uuid(1031),
      last_attempt_at: EARLY,
      last_status: 503,
      last_error: LONG,
      last_duration_ms: MAX_INTEGER,
      delivered_at: LATE,
    },
  },
  {
    table: 'notice_delivery',
    row: {
      id: uuid(1022),
      notice_id: uuid(1012),
      webhook_id: uuid(1002),
      state: 'given-up',
      attempts: 0,
      next_attempt_at: null,
      claim: null,
      last_attempt_at: null,
      last_status: null,
      last_error: null,
      last_duration_ms: null,
      delivered_at: null,
    },
  },
  {
    table: 'resource_grant',
    row: {
      channel_user_id: uuid(101),
      resource_type: 'property',
      resource_id: '7',
      permissions: ['read', 'write'],
      granted_by: uuid(301),
      granted_at: EARLY,
      expires_at: LATE,
    },
  },
  {
    table: 'resource_grant',
    row: {
      channel_user_id: uuid(102),
      resource_type: 'property',
      resource_id: LONG.slice(0, 100),
      permissions: [],
      granted_by: null,
      granted_at: LATE,
      expires_at: null,
    },
  },
  ...[1101, 1102].map((n) => ({
    table: 'channel_user_import',
    row: {
      id: uuid(n),
      state: n === 1101 ? 'running' : 'refused',
      format: 'csv',
      dry_run: n === 1101,
      partial: n === 1102,
      rows: MAX_INTEGER,
      created: 0,
      failed: MAX_INTEGER,
      file_sha256: n === 1101 ? null : 'x',
      actor_type: n === 1101 ? 'cli' : 'staff',
      actor_id: n === 1101 ? null : uuid(301),
      started_at: EARLY,
      heartbeat_at: LATE,
      finished_at: n === 1101 ? null : LATE,
    },
  })),
  ...[1, 2].map((n) => ({
    table: 'channel_user_import_row',
    row: {
      import_id: uuid(1101),
      row_number: n,
      username_key: `row-${String(n)}`,
      account: { text: LONG },
      secret_hash: 'x',
      fingerprint: n === 1 ? null : '00000000',
    },
  })),
  ...[1201, 1202].map((n) => ({
    table: 'service_account',
    row: {
      id: uuid(n),
      name: `S-${String(n)}`,
      name_key: `s-${String(n)}`,
      role: n === 1201 ? 'viewer' : 'admin',
      allowed_ips: n === 1201 ? [] : ['192.0.2.0/24', '2001:db8::1'],
      created_at: EARLY,
      expires_at: n === 1201 ? null : LATE,
      suspended_at: n === 1201 ? null : LATE,
      revoked_at: n === 1201 ? null : LATE,
      last_used_at: n === 1201 ? null : EARLY,
      last_used_address: n === 1201 ? null : '2001:db8::1',
    },
  })),
  ...[1211, 1212].map((n) => ({
    table: 'service_account_key',
    row: {
      id: uuid(n),
      service_account_id: uuid(1201),
      secret_hash: '$sha256$x',
      created_at: EARLY,
      expires_at: n === 1211 ? null : LATE,
      revoked_at: n === 1211 ? null : LATE,
      pending: n === 1211,
      retire_seconds: n === 1211 ? MAX_INTEGER : null,
      last_used_at: n === 1211 ? null : LATE,
      last_used_address: n === 1211 ? null : '192.0.2.7',
    },
  })),
];
/** One row each, so that a column cannot be both NULL and not. */
const ONE_ROW = new Set(['quickstart', 'settings', 'audit_chain']);

type Meaning = (value: string | null | undefined, before: Row) => boolean;
const isNull: Meaning = (value) => value === null;
const is =
  (expected: string): Meaning =>
  (value) =>
    value === expected;
const isPresent: Meaning = (value) => typeof value === 'string';
const time = (text: string | null | undefined): number => Date.parse(text ?? '');

/**
 * What each migration means for the rows that are there: the values of the columns it adds, and the columns it takes
 * away. A migration that is not named here fails the test: write down what it does to rows, and add its columns and tables
 * to the fixtures.
 */
const MEANINGS: Record<string, { adds?: Record<string, Meaning>; removes?: string[] }> = {
  Initial1795500000000: {},
  DirectoryAndActivity1795600000000: {},
  KeyStatesAndRevokedTokens1795700000000: {
    adds: {
      'signing_key.id': isPresent,
      'signing_key.state': (value, before) => value === (before['retired_at'] === null ? 'active' : 'retiring'),
      'signing_key.activated_at': (value, before) => value === before['created_at'],
      'signing_key.verifies_until': (value, { retired_at: retired }) =>
        retired === null ? value === null : time(value) === time(retired) + 86_400_000,
      'signing_key.revoked_at': isNull,
    },
    removes: ['signing_key.retired_at'],
  },
  SecondFactor1795800000000: {
    adds: {
      'staff_session.by_cookie': is('false'),
      'staff_session.last_seen_at': (value) => Math.abs(time(value) - Date.now()) < 600_000,
      'staff.second_factor_at': isNull,
      'staff.totp_secret': isNull,
      'staff.pending_totp_secret': isNull,
      'staff.last_totp_step': isNull,
      'staff.totp_attempts': is('0'),
    },
  },
  Handover1795810000000: {},
  UsageAndOverview1795820000000: {
    adds: {
      'channel_user.tokens_revoked_at': isNull,
      'credential.last_used_address': isNull,
      'credential.last_used_user_agent': isNull,
    },
  },
  AuditChain1795900000000: { adds: { 'audit_event.mac': isNull } },
  Notices1795910000000: {},
  Grants1796000000000: {},
  Import1796010000000: {},
  PartitionRights1796020000000: {},
  RevokedTokenNotifications1796200000000: {},
  SlowHashCost1796300000000: {},
  KeyedHash1796300100000: { adds: { 'credential.keyed_hash': isNull } },
  LastUse1796400000000: {},
  Tally1796410000000: {},
  NewCredentialsStaySilent1796420000000: {},
  AuditActorType1796430000000: {},
  HandoverRefusals1796500000000: { adds: { 'handover.refusals': is('0') } },
  PasswordLinks1796500010000: {},
  StaffSignInFailures1796500020000: {},
  // Rows of plain text stay as they are; test/platform/names.e2e.ts has the others.
  SearchText1796600000000: {},
  // The servers seal what stands there.
  WebhookUrl1796610000000: { adds: { 'webhook.sealed_url': isNull } },
  SupersededCredentials1796650000000: {
    adds: { 'credential.superseded': (value, { id }) => value === String(id === uuid(203)) },
  },
  ExternalId1796700000000: { adds: { 'channel_user.external_id': isNull } },
  SuspendedIndex1796710000000: {},
  RefusalsIndex1796790000000: {},
  [PENDING]: {
    adds: {
      'credential.pending': is('false'),
      'credential.activated_at': isNull,
      'credential.withdrawn_at': isNull,
      'credential.retire_seconds': isNull,
      'credential.begun_by': isNull,
      'credential.begun_by_id': isNull,
      'credential.proved_by': isNull,
    },
  },
  Calls1796810000000: {},
  RequestIds1796811000000: {},
  SelfService1796820000000: { adds: { 'channel_user.self_service': is('false') } },
  LeakReports1796821000000: { adds: { 'credential.reported_leaked_at': isNull } },
  ServiceAccounts1796830000000: {},
  [SINGLE_SIGN_ON]: {
    adds: {
      'staff.oidc_issuer': isNull,
      'staff.oidc_subject': isNull,
      'staff.break_glass': is('false'),
      'staff_session.authenticated_at': (value) => Math.abs(time(value) - Date.now()) < 600_000,
      'staff_session.oidc_sid': isNull,
      'staff_session.id_token': isNull,
      'settings.local_sign_in': is('everybody'),
    },
  },
};

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(`SET timezone = 'UTC'; SET session_replication_role = replica`);
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Brings a database to the schema of the first so many migrations. */
async function migrateTo(url: string, count: number): Promise<void> {
  const dataSource = new DataSource({ ...dataSourceOptions(url, 2, 'none'), migrations: migrations.slice(0, count) });
  await dataSource.initialize();
  await dataSource.runMigrations({ transaction: 'each' });
  await dataSource.destroy();
}

async function columnsOf(client: pg.Client): Promise<Map<string, Map<string, boolean>>> {
  const { rows } = await client.query<{ table: string; column: string; nullable: boolean }>(
    `SELECT relname AS table, attname AS column, NOT attnotnull AS nullable FROM pg_attribute
       JOIN pg_class ON pg_class.oid = attrelid
     WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition AND attnum > 0
       AND NOT attisdropped AND relname <> 'migration' ORDER BY 1, attnum`,
  );
  return new Map(
    [...Map.groupBy(rows, ({ table }) => table)].map(([table, of]) => [
      table,
      new Map(of.map(({ column, nullable }) => [column, nullable])),
    ]),
  );
}

async function insertFixtures(client: pg.Client, schema: number): Promise<void> {
  const columns = await columnsOf(client);
  for (const table of ['settings', 'audit_chain']) if (columns.has(table)) await client.query(`DELETE FROM ${table}`);
  for (const { table, row, from = 1 } of FIXTURES) {
    const of = columns.get(table);
    if (!of || schema < from) continue;
    const entries = Object.entries(row).filter(([column]) => of.has(column));
    const values = entries.map(([, value]) =>
      typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
        ? JSON.stringify(value)
        : value,
    );
    await client.query(
      `INSERT INTO "${table}" (${entries.map(([column]) => `"${column}"`).join(', ')}) OVERRIDING SYSTEM VALUE
         VALUES (${entries.map((_, i) => `$${String(i + 1)}`).join(', ')})`,
      values,
    );
  }
}

async function contentOf(client: pg.Client): Promise<Content> {
  const content: Content = new Map();
  for (const table of (await columnsOf(client)).keys()) {
    const { rows } = await client.query<{ key: string; row: Row }>(
      `SELECT (SELECT jsonb_agg(to_jsonb(t) -> attname ORDER BY attname) FROM pg_index
           JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
           WHERE indrelid = '"${table}"'::regclass AND indisprimary)::text AS key,
         (SELECT jsonb_object_agg(key, value) FROM jsonb_each_text(to_jsonb(t))) AS row FROM "${table}" t`,
    );
    content.set(table, new Map(rows.map(({ key: primary, row }) => [primary, row])));
  }
  return content;
}

/** Every way in which the rows of before are not there as they were meant to be. */
function losses(before: Content, after: Content, applied: string[]): string[] {
  const added = new Map(applied.flatMap((name) => Object.entries(MEANINGS[name]?.adds ?? {})));
  const removed = new Set(applied.flatMap((name) => MEANINGS[name]?.removes ?? []));
  const found: string[] = [];
  for (const [table, rows] of before) {
    const now = after.get(table);
    for (const [primary, row] of rows) {
      const place = `${table} ${primary}`;
      const other = now?.get(primary);
      if (!other) {
        found.push(`${place} is gone`);
        continue;
      }
      for (const column of new Set([...Object.keys(row), ...Object.keys(other)])) {
        const name = `${table}.${column}`;
        if (!(column in other)) {
          if (!removed.has(name)) found.push(`${place}: ${column} is gone`);
        } else if (column in row) {
          if (row[column] !== other[column]) found.push(`${place}: ${column} is another`);
        } else if (added.get(name)?.(other[column], row) !== true) {
          found.push(`${place}: ${column} is ${String(other[column])}`);
        }
      }
    }
    if (now && now.size !== rows.size && !applied.length) found.push(`${table} has other rows`);
  }
  return found;
}

it('requires every migration to say what it means for rows', () => {
  expect(Object.keys(MEANINGS)).toEqual(names);
});

describe.each(names.map((name, i) => [name, i + 1] as const))('rows at the schema of %s', (_, schema) => {
  let database: { url: string; drop: () => Promise<void> };
  let before: Content;
  const later = names.slice(schema);

  beforeAll(async () => {
    database = await createDatabase({ migrated: false });
    await migrateTo(database.url, schema);
    await withClient(database.url, async (client) => {
      await insertFixtures(client, schema);
      before = await contentOf(client);
    });
  });
  afterAll(() => database.drop());

  it('fill every table and column, with and without a value', async () => {
    const columns = await withClient(database.url, columnsOf);
    const lacking: string[] = [];
    for (const [table, of] of columns) {
      const rows = [...(before.get(table)?.values() ?? [])];
      for (const [column, nullable] of of) {
        if (!rows.some((row) => row[column] !== null)) lacking.push(`${table}.${column} has no value`);
        if (nullable && !ONE_ROW.has(table) && !rows.some((row) => row[column] === null))
          lacking.push(`${table}.${column} is never NULL`);
      }
    }
    expect(lacking).toEqual([]);
  });

  it('survive the migrations to the newest schema, back down and up again', async () => {
    const content = (): Promise<Content> => withClient(database.url, contentOf);
    expect(await runMigrations(database.url, CORE)).toEqual(later);
    const newest = await content();
    expect(losses(before, newest, later)).toEqual([]);
    for (const _ of later) await revertMigration(database.url, CORE);
    expect(losses(before, await content(), [])).toEqual([]);
    // The older version goes on counting after the last event.
    const [next] = await withClient(database.url, async (client) => {
      const query = `SELECT nextval(pg_get_serial_sequence('audit_event', 'seq'))::float8 AS seq`;
      return (await client.query<{ seq: number }>(query)).rows;
    });
    if (later.includes('AuditChain1795900000000')) expect(next?.seq).toBeGreaterThan(9_000_000_000);
    await runMigrations(database.url, CORE);
    expect(losses(before, await content(), later)).toEqual([]);

    // What the last day was is counted anew from the activity there was.
    if (schema >= 2 && later.includes('UsageAndOverview1795820000000')) {
      const hours = [...(newest.get('sign_in_hour')?.values() ?? [])];
      expect(hours.map(({ tokens, refused }) => [tokens, refused])).toEqual([['1', '7']]);
      const failures = [...(newest.get('sign_in_failure')?.values() ?? [])];
      expect(failures.map((row) => [row['channel_user_id'], row['refusals'], row['reason']])).toEqual([
        [uuid(102), '7', 'wrong_password'],
      ]);
    }
  });
});

it('starts the chain over the rows of the first schema', async () => {
  const { url, drop } = await createDatabase({ migrated: false });
  await migrateTo(url, 1);
  await withClient(url, async (client) => {
    await insertFixtures(client, 1);
    // Keys that nobody can read are no matter here.
    await client.query('DELETE FROM signing_key');
  });
  await runMigrations(url);
  const app = await TestApp.start({ databaseUrl: url });
  const { token } = await app.asStaff('admin');
  const chain = await app.request('GET', '/admin/audit-events/chain', { token });
  expect(chain.json<{ head: { sequence: number } }>().head.sequence).toBeGreaterThan(9_000_000_000);
  expect((await app.request('GET', '/admin/channel-users', { token })).json()['total']).toBe(2);
  await app.close();
  await drop();
});
