/**
 * What the lists of the staff API are tried with: partners, filters, and how many pages of the database (buffers) each
 * may look at. Used by the test on a hundred thousand partners, and by the benchmark on a million.
 */

export const USERS = '/admin/channel-users';
export const SORTS = ['username', '-username', 'createdAt', '-createdAt', 'lastTokenAt', '-lastTokenAt'];

/**
 * Partners of every kind: of ten, one is suspended, three have never obtained a token, half have a scope. One in a
 * thousand has a rare scope. A fifth of the credentials end within 30 days. Each statement takes the number as $1.
 */
export const PARTNERS_SEED = [
  `INSERT INTO channel_user (username, username_key, display_name, contact_email, scopes, token_ttl_seconds,
     tokens_per_minute, allowed_ips, search_text, created_at, updated_at, last_token_at, suspended_at, expires_at, external_id)
   SELECT name, name, 'Partner ' || n, 'ops' || n || '@partner.example',
     CASE WHEN n % 1000 = 0 THEN '{rare:scope}' WHEN n % 2 = 0 THEN '{calendar:write,properties:read}' ELSE '{}' END::text[],
     3600, 60, '{}', name || E'\\npartner ' || n || E'\\nops' || n || '@partner.example',
     now() - n * interval '1 minute', now(), CASE WHEN n % 10 > 2 THEN now() - (n * 37 % $1) * interval '1 minute' END,
     CASE WHEN n % 10 = 0 THEN now() END, CASE WHEN n % 30 = 7 THEN now() - interval '1 day' END,
     'crm-' || n / 3
   FROM generate_series(1, $1::int) AS n, concat('partner-', lpad(n::text, 7, '0')) AS name`,
  `INSERT INTO credential (channel_user_id, label, secret_hash, expires_at)
   SELECT id, 'initial', '$sha256$x', CASE WHEN right(username, 1) IN ('3', '8') THEN now() + interval '10 days' END
   FROM channel_user WHERE $1 > 0`,
  `INSERT INTO sign_in_failure (channel_user_id, since, last_at, reason, refusals)
   SELECT id, now(), now(), 'wrong_password', 1 FROM channel_user WHERE right(username, 2) = '42' AND $1 > 0`,
];

/** Filters that no partner matches. */
export const MATCHED_BY_NONE = [
  'scope=none:such',
  'q=qx',
  'q=%23',
  'q=zzz-nobody',
  'q=---',
  'q=rtner-99999999',
  'status=suspended&scope=none:such',
  'expiringWithinDays=30&q=zzz-nobody',
  'silentForDays=365&scope=none:such',
  'failing=true&scope=none:such',
  'externalId=none',
];

/** Filters that few partners match. */
export const MATCHED_BY_FEW = [
  'scope=rare:scope',
  'externalId=crm-777',
  'q=partner-00777',
  'q=partner-0077&status=active',
  'failing=true',
  'q=partner-0077&expiringWithinDays=30',
  'q=partner-0077&silentForDays=1',
];

/** No filter, and filters that more partners match than a list counts. */
export const MATCHED_BY_MANY = [
  '',
  'q=partner',
  'q=par',
  'q=pa',
  'status=active',
  'status=suspended',
  'scope=calendar:write',
  'status=expired',
];

/** Filters by tables beside that of the partners. */
export const MATCHED_BY_TIME = ['expiringWithinDays=30', 'expiringWithinDays=5', 'silentForDays=1', 'silentForDays=30'];

export const EXPORTS_OF_NOBODY = ['q=qx', 'scope=none:such', 'q=zzz-nobody'];

export const TRAIL_FILTERS = [
  'actor=cli',
  'actor=system',
  'actor=staff',
  'actor=3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11',
  'action=no.such',
  'target=3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11',
  'from=2090-01-01T00:00:00Z',
  'to=2000-01-01T00:00:00Z',
  'actor=cli&action=no.such',
];

/** The most buffers that a request may look at. They hold for any number of partners. */
export const BOUNDS = {
  none: 1_500,
  /** @param total the number of matches; null if there are too many to count */
  few: (total: number | null): number => (total === null ? 60_000 : 4_000 + 12 * total),
  many: 25_000,
  time: 60_000,
  trail: 1_000,
  scopes: 500,
  overview: 60_000,
};
