import { hash as argon2 } from '@node-rs/argon2';
import { hash as bcrypt } from '@node-rs/bcrypt';
import { createHash, randomUUID } from 'node:crypto';
import { withClient } from './database.ts';

/** A request that must be answered like all others of its kind. */
export interface Probe {
  readonly path: string;
  readonly contentType: string;
  readonly body: string;
  /** Sent as X-Forwarded-For. */
  readonly address: string;
}

/** A case that outsiders must not be able to tell from others, such as a reason for a refusal. */
export interface Case {
  readonly name: string;
  /** The reference under another name. A difference means that the measurement is wrong. */
  readonly isControl?: boolean;
  /** @param sample counts the samples of this case from 0 @param address that no other probe comes from */
  readonly probe: (sample: number, address: string) => Probe;
}

export interface Comparison {
  readonly title: string;
  /** The status of every answer. */
  readonly status: number;
  /** The case that all others are compared with. */
  readonly reference: Case;
  readonly cases: readonly Case[];
  /** Requests that must succeed first, to fill the caches for the warm cases. */
  readonly warmUp: readonly Probe[];
}

/** Accounts that have signed in before. Each gets several probes of a case, each from a different address. */
const WARM_ACCOUNTS = 24;
const INSIDE = '192.0.2.7';
const ALLOWED = '192.0.2.0/24';
/** Below the usual 10: refusals wait for the hashes of all sign-ins that are open, so the run would take 20 minutes. */
const BCRYPT_COST = 8;
/** argon2id, the library's default, with OWASP's recommended costs: 19 MiB, two passes, one lane. */
const ARGON2_COST = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };

const PASSWORD = randomUUID();
const REVOKED_PASSWORD = randomUUID();
const sha256 = (password: string): string => `$sha256$${createHash('sha256').update(password).digest('base64url')}`;

const signIn = (username: string, password: string, address: string): Probe => ({
  path: '/generateToken',
  contentType: 'application/x-www-form-urlencoded',
  body: `Username=${username}&Password=${password}`,
  address,
});

/** Accounts that are refused for the same reason. */
interface Kind {
  /** The prefix of the usernames. */
  readonly prefix: string;
  readonly name: string;
  readonly secretHash: string;
  readonly imported?: boolean;
  readonly allowedIps?: string[];
  readonly hasRevoked?: boolean;
  /** Creates the password of a probe. */
  readonly presented: () => string;
}

async function kinds(): Promise<Kind[]> {
  return [
    {
      prefix: 'generated',
      name: 'wrong password, generated credential',
      secretHash: sha256(PASSWORD),
      presented: randomUUID,
    },
    {
      prefix: 'argon2id',
      name: 'wrong password, imported argon2id hash',
      secretHash: await argon2(PASSWORD, ARGON2_COST),
      imported: true,
      presented: randomUUID,
    },
    {
      prefix: 'bcrypt',
      name: 'wrong password, imported bcrypt hash',
      secretHash: await bcrypt(PASSWORD, BCRYPT_COST),
      imported: true,
      presented: randomUUID,
    },
    {
      prefix: 'elsewhere',
      name: 'right password, address not allowed',
      secretHash: sha256(PASSWORD),
      allowedIps: [ALLOWED],
      presented: () => PASSWORD,
    },
    {
      prefix: 'revoked',
      name: 'revoked credential',
      secretHash: sha256(PASSWORD),
      hasRevoked: true,
      presented: () => REVOKED_PASSWORD,
    },
  ];
}

/** One account for each sample, preceded by the warm accounts. */
async function seed(databaseUrl: string, kind: Kind, samples: number): Promise<void> {
  await withClient(databaseUrl, async (client) => {
    await client.query(
      `INSERT INTO channel_user (username, username_key, display_name, scopes, token_ttl_seconds, tokens_per_minute,
          allowed_ips, search_text, updated_at)
        SELECT name, name, name, '{}', 3600, 60, $3, name, now()
        FROM generate_series(0, $1::integer) AS n, concat($2::text, '-', n) AS name`,
      [WARM_ACCOUNTS + samples, kind.prefix, kind.allowedIps ?? []],
    );
    const addCredential = `INSERT INTO credential (channel_user_id, label, fingerprint, secret_hash, revoked_at)
      SELECT id, 'bench', $2, $3, $4 FROM channel_user WHERE starts_with(username, $1 || '-')`;
    await client.query(addCredential, [kind.prefix, kind.imported ? null : '00000000', kind.secretHash, null]);
    if (kind.hasRevoked) {
      await client.query(addCredential, [kind.prefix, '00000000', sha256(REVOKED_PASSWORD), new Date()]);
    }
  });
}

/** Partners' sign-ins. @param samples how many of each case will be taken */
export async function partnerCases(databaseUrl: string, samples: number): Promise<Comparison> {
  const unknown = (name: string): Case => ({
    name,
    probe: (_sample, address) => signIn(`nobody-${randomUUID()}`, randomUUID(), address),
  });
  const cases: Case[] = [{ ...unknown('unknown user once more (control)'), isControl: true }];
  const warmUp: Probe[] = [];
  for (const kind of await kinds()) {
    await seed(databaseUrl, kind, samples);
    const probeOf = (n: number, address: string): Probe =>
      signIn(`${kind.prefix}-${String(n)}`, kind.presented(), address);
    cases.push(
      { name: `${kind.name}, cold`, probe: (sample, address) => probeOf(WARM_ACCOUNTS + sample, address) },
      { name: `${kind.name}, warm`, probe: (sample, address) => probeOf(sample % WARM_ACCOUNTS, address) },
    );
    for (let n = 0; n < WARM_ACCOUNTS; n += 1) warmUp.push(signIn(`${kind.prefix}-${String(n)}`, PASSWORD, INSIDE));
  }
  return { title: 'POST /generateToken', status: 401, reference: unknown('unknown user'), cases, warmUp };
}

const report = (username: string, password: string, address: string): Probe => ({
  path: '/credentials/report-leaked',
  contentType: 'application/json',
  body: JSON.stringify({ username, password }),
  address,
});

/**
 * Reports of leaked passwords, whose answers tell even less: a right password is answered like a wrong one. The first
 * report of a password ends it, so each sample has an account of its own.
 *
 * @param samples how many of each case will be taken
 */
export async function reportCases(databaseUrl: string, samples: number): Promise<Comparison> {
  const unknown = (name: string): Case => ({
    name,
    probe: (_sample, address) => report(`nobody-${randomUUID()}`, randomUUID(), address),
  });
  const found = await kinds();
  const kindOf = (prefix: string): Kind => {
    const kind = found.find((each) => each.prefix === prefix);
    if (!kind) throw new Error(`No accounts are called ${prefix}`);
    return kind;
  };
  const right = (prefix: string, name: string): Kind => ({ ...kindOf(prefix), name, presented: () => PASSWORD });
  const reported: Kind[] = [
    kindOf('generated'),
    kindOf('argon2id'),
    kindOf('bcrypt'),
    right('generated', 'right password, generated credential'),
    right('argon2id', 'right password, imported argon2id hash'),
    right('bcrypt', 'right password, imported bcrypt hash'),
    right('elsewhere', 'right password, address not allowed'),
    kindOf('revoked'),
  ].map((kind, i) => ({ ...kind, prefix: `report-${String(i)}-${kind.prefix}` }));
  const cases: Case[] = [{ ...unknown('unknown user once more (control)'), isControl: true }];
  for (const kind of reported) {
    await seed(databaseUrl, kind, samples);
    const nameOf = (n: number): string => `${kind.prefix}-${String(n)}`;
    cases.push({
      name: kind.name,
      probe: (sample, address) => report(nameOf(WARM_ACCOUNTS + sample), kind.presented(), address),
    });
  }
  // Reported once, the password is proof still, but nothing is left to end.
  const again = { ...right('generated', 'right password, reported before'), prefix: 'report-again' };
  await seed(databaseUrl, again, samples);
  const probeOf = (n: number, address: string): Probe => report(`report-again-${String(n)}`, PASSWORD, address);
  cases.push({ name: again.name, probe: (sample, address) => probeOf(sample % WARM_ACCOUNTS, address) });
  const warmUp = Array.from({ length: WARM_ACCOUNTS }, (_, n) => probeOf(n, `192.0.2.${String(n + 1)}`));
  return { title: 'POST /credentials/report-leaked', status: 202, reference: unknown('unknown user'), cases, warmUp };
}

/** Staff sign-ins. */
export async function staffCases(databaseUrl: string): Promise<Comparison> {
  const email = 'operator@bench.example';
  const passwordHash = await argon2(PASSWORD, ARGON2_COST);
  await withClient(databaseUrl, (client) =>
    client.query(
      `INSERT INTO staff (email, email_key, name, role, password_hash) VALUES ($1, $1, 'Operator', 'operator', $2)`,
      [email, passwordHash],
    ),
  );
  const session = (who: string, password: string, address: string): Probe => ({
    path: '/admin/session',
    contentType: 'application/json',
    body: JSON.stringify({ email: who, password }),
    address,
  });
  const unknown = (name: string): Case => ({
    name,
    probe: (_sample, address) => session(`nobody-${randomUUID()}@bench.example`, randomUUID(), address),
  });
  return {
    title: 'POST /admin/session',
    status: 401,
    reference: unknown('unknown e-mail'),
    cases: [
      { ...unknown('unknown e-mail once more (control)'), isControl: true },
      { name: 'wrong password', probe: (_sample, address) => session(email, randomUUID(), address) },
    ],
    warmUp: [session(email, PASSWORD, INSIDE)],
  };
}
