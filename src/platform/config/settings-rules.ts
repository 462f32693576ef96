import { databasePassword } from './database-url.ts';
import { isWeakKey } from './key-encryption-key.ts';
import type { SettingValues } from './settings.ts';
import { staffOidcProblems } from './staff-oidc.ts';

/** Passwords of examples. Production refuses to start with one of them. */
const EXAMPLE_PASSWORDS = new Set(['change-me', 'changeme', 'example', 'secret', 'password', 'postgres', 'latchkey']);
const isExample = (password: string): boolean => EXAMPLE_PASSWORDS.has(password.toLowerCase());

/**
 * A configured database means production, unless `NODE_ENV=development` is set. Only outside production, an http issuer
 * is accepted and migrations run by themselves.
 */
export function isProduction({ NODE_ENV, DATABASE_URL }: SettingValues): boolean {
  return NODE_ENV === 'production' || (DATABASE_URL !== undefined && NODE_ENV !== 'development');
}

/**
 * Checks the rules that concern several settings, or production.
 *
 * @param values settings that each satisfy their own rule
 * @returns sentences without a full stop that begin with a setting's name
 */
export function ruleProblems(values: SettingValues): string[] {
  return [
    ...portProblems(values),
    ...combinationProblems(values),
    ...staffOidcProblems(values),
    ...(isProduction(values) ? productionProblems(values) : []),
  ];
}

/** Each listener needs a port of its own. */
function portProblems(values: SettingValues): string[] {
  const names = ['PORT', 'ADMIN_PORT', 'OPS_PORT'] as const;
  return names.flatMap((name, i) => {
    const port = values[name];
    const other = port === undefined || port === 0 ? undefined : names.slice(0, i).find((n) => values[n] === port);
    return other === undefined ? [] : [`${name} must differ from ${other}`];
  });
}

function combinationProblems(values: SettingValues): string[] {
  const problems: string[] = [];
  const { DATABASE_URL, DATABASE_DIRECT_URL, DATABASE_PASSWORD, NODE_ENV } = values;
  if (DATABASE_URL === undefined && NODE_ENV === 'production') {
    return [
      'DATABASE_URL is required with NODE_ENV=production: set DATABASE_URL, PUBLIC_URL and KEY_ENCRYPTION_KEY, ' +
        'or unset NODE_ENV to try Latchkey out on an embedded database',
    ];
  }
  if (DATABASE_URL !== undefined) {
    const required = {
      PUBLIC_URL: values.PUBLIC_URL,
      KEY_ENCRYPTION_KEY: values.KEY_ENCRYPTION_KEY ?? values.KEY_ENCRYPTION_KEYS,
    };
    for (const [name, value] of Object.entries(required)) {
      if (value === undefined)
        problems.push(`${name} is required with DATABASE_URL: set the same value on all instances`);
    }
  }
  if (DATABASE_DIRECT_URL !== undefined && DATABASE_URL === undefined) {
    problems.push('DATABASE_DIRECT_URL bypasses the pooler of DATABASE_URL: set DATABASE_URL too');
  }
  const urls = [DATABASE_URL, DATABASE_DIRECT_URL].filter((url) => url !== undefined);
  if (DATABASE_PASSWORD !== undefined && urls.every((url) => databasePassword(url) !== '')) {
    problems.push('DATABASE_PASSWORD is set, and DATABASE_URL contains a password too: remove one of them');
  }
  return problems;
}

function productionProblems(values: SettingValues): string[] {
  const problems: string[] = [];
  for (const name of ['DATABASE_URL', 'DATABASE_DIRECT_URL'] as const) {
    const url = values[name];
    if (url !== undefined && isExample(databasePassword(url))) {
      problems.push(`${name} must not contain an example password in production`);
    }
  }
  for (const name of ['DATABASE_PASSWORD', 'STAFF_OIDC_CLIENT_SECRET'] as const) {
    if (isExample(values[name] ?? '')) problems.push(`${name} must not be an example password in production`);
  }
  for (const name of ['PUBLIC_URL', 'ADMIN_URL', 'STAFF_OIDC_ISSUER'] as const) {
    const url = values[name];
    if (url?.startsWith('http://') !== true) continue;
    problems.push(
      `${name} must be an https URL in production (with DATABASE_URL, unless NODE_ENV=development is set); ` +
        `found ${JSON.stringify(url)}`,
    );
  }
  for (const name of ['KEY_ENCRYPTION_KEY', 'KEY_ENCRYPTION_KEYS'] as const) {
    if (values[name]?.some(isWeakKey) === true) {
      problems.push(
        `${name} must not be an example value or a pattern in production: create one with openssl rand -base64 32`,
      );
    }
  }
  return problems;
}
