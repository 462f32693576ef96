import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ConfigError, type EnvironmentConfig, loadConfig } from './config.ts';
import { SETTING_ROWS } from './settings.ts';
import { envExample, withSettings } from './settings-documents.ts';

const KEY = randomBytes(32);
const PRODUCTION = {
  DATABASE_URL: 'postgres://app:Zq8f-real-one@db.internal:5432/latchkey',
  PUBLIC_URL: 'https://latchkey.example',
  KEY_ENCRYPTION_KEY: KEY.toString('base64'),
};

function problemsOf(variables: Record<string, string>): string[] {
  try {
    loadConfig(variables);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

describe('the table of settings', () => {
  it('matches .env.example (npm run settings)', () => {
    expect(readFileSync('.env.example', 'utf8')).toBe(envExample());
  });

  it('appears unchanged in one page of the docs (npm run settings)', () => {
    const pages = readdirSync('docs')
      .filter((name) => name.endsWith('.md'))
      .map((name) => readFileSync(path.join('docs', name), 'utf8'));
    const [page, ...others] = pages.filter((text) => withSettings(text) !== undefined);
    expect(others).toEqual([]);
    expect(page).toBe(withSettings(page ?? ''));
  });

  it.each(SETTING_ROWS)('has an example of %s, and a default, that the setting accepts', (name, row) => {
    expect(row.type.parse(row.example)).toHaveProperty('value');
    if ('default' in row) expect(row.type.parse(row.default ?? '')).toHaveProperty('value');
    else if (row.replacedBy === undefined) expect([name, row.absent]).toEqual([name, expect.any(String)]);
  });

  it('has examples of keys and passwords that production refuses', () => {
    const examples = Object.fromEntries(SETTING_ROWS.map(([name, { example }]) => [name, example]));
    for (const name of ['KEY_ENCRYPTION_KEY', 'DATABASE_URL', 'DATABASE_DIRECT_URL']) {
      expect(problemsOf({ ...PRODUCTION, [name]: examples[name] ?? '' })).toEqual([
        expect.stringContaining(`${name} must not`),
      ]);
    }
  });
});

describe('CACHE_SIZE', () => {
  it.each([
    [{}, 100_000, 100_000],
    [{ CACHE_SIZE: '1' }, 1, 1],
    [{ CACHE_SIZE: '1000' }, 1_000, 1_000],
    [{ CACHE_SIZE: '500000' }, 500_000, 500_000],
    [{ DIRECTORY_CACHE_SIZE: '50000' }, 50_000, 50_000],
    [{ TOKEN_CACHE_SIZE: '5' }, 100_000, 5],
    [{ DIRECTORY_CACHE_SIZE: '500', TOKEN_CACHE_SIZE: '700' }, 500, 700],
  ])('%j keeps %d accounts and %d tokens', (variables, accountCacheSize, tokenCacheSize) => {
    expect(loadConfig(variables as Record<string, string>)).toMatchObject({ accountCacheSize, tokenCacheSize });
  });
});

describe('an old name of a setting', () => {
  const KEY_ENCRYPTION_KEYS = `${KEY.toString('base64')},${randomBytes(32).toString('hex')}`;

  it('works with a warning that names the new one', () => {
    const { keyEncryptionKeys, warnings } = loadConfig({ KEY_ENCRYPTION_KEYS, DIRECTORY_CACHE_SIZE: '7' });
    expect(keyEncryptionKeys?.[0]).toEqual(KEY);
    expect(keyEncryptionKeys).toHaveLength(2);
    expect(warnings).toEqual([
      'DIRECTORY_CACHE_SIZE will stop working in the next minor version: set CACHE_SIZE instead',
      'KEY_ENCRYPTION_KEYS will stop working in the next minor version: set KEY_ENCRYPTION_KEY instead',
    ]);
    expect(loadConfig({ ...PRODUCTION, KEY_ENCRYPTION_KEY: '', KEY_ENCRYPTION_KEYS }).production).toBe(true);
    expect(loadConfig({ ...PRODUCTION, KEY_ENCRYPTION_KEYS: '', CACHE_SIZE: '7' }).warnings).toEqual([]);
  });

  it.each([
    [{ CACHE_SIZE: '7', DIRECTORY_CACHE_SIZE: '7' }, 'DIRECTORY_CACHE_SIZE', 'CACHE_SIZE'],
    [{ CACHE_SIZE: '7', TOKEN_CACHE_SIZE: '7' }, 'TOKEN_CACHE_SIZE', 'CACHE_SIZE'],
    [{ ...PRODUCTION, KEY_ENCRYPTION_KEYS }, 'KEY_ENCRYPTION_KEYS', 'KEY_ENCRYPTION_KEY'],
  ])('is refused beside the new name: %#', (variables, old, current) => {
    expect(problemsOf(variables as Record<string, string>)).toEqual([
      `${old} and ${current} are both set: ${current} replaces ${old}, set only ${current}`,
    ]);
  });
});

describe('a secret in a file', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'latchkey-settings-'));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });
  function fileOf(content: string | Buffer): string {
    const file = path.join(folder, randomBytes(8).toString('hex'));
    writeFileSync(file, content);
    return file;
  }
  const read = (variables: Record<string, string>): EnvironmentConfig => loadConfig(variables);

  it('is read for every secret setting', () => {
    const secrets = {
      DATABASE_URL: 'postgres://app@db.internal:5432/latchkey',
      DATABASE_DIRECT_URL: 'postgres://app@db.internal:5433/latchkey',
      DATABASE_PASSWORD: 'Zq8f-real-one',
      REDIS_URL: 'redis://cache.internal:6379/1',
      KEY_ENCRYPTION_KEY: KEY.toString('base64'),
      STAFF_OIDC_CLIENT_SECRET: 'Zq8f-real-two',
      STAFF_OIDC_PRIVATE_KEY: generateKeyPairSync('ec', { namedCurve: 'P-256' })
        .privateKey.export({ type: 'pkcs8', format: 'pem' })
        .toString(),
    };
    const rows = SETTING_ROWS.filter(([, { secret, replacedBy }]) => secret && replacedBy === undefined);
    expect(rows.map(([name]) => name).sort()).toEqual(Object.keys(secrets).sort());
    const oidc = {
      STAFF_OIDC_ISSUER: 'https://login.company.example',
      STAFF_OIDC_CLIENT_ID: 'latchkey',
      STAFF_OIDC_ROLES: 'g=admin',
    };
    const others = { PUBLIC_URL: PRODUCTION.PUBLIC_URL, ...oidc };
    // Only one of these two may be set.
    for (const left of ['STAFF_OIDC_CLIENT_SECRET', 'STAFF_OIDC_PRIVATE_KEY']) {
      const set = Object.entries(secrets).filter(([name]) => name !== left);
      const files = set.map(([name, text]) => [`${name}_FILE`, fileOf(`${text}\n`)]);
      expect(read({ ...others, ...(Object.fromEntries(files) as Record<string, string>) })).toEqual(
        read({ ...others, ...(Object.fromEntries(set) as Record<string, string>) }),
      );
    }
  });

  it.each([
    ['one', 'one'],
    ['one\n', 'one'],
    ['one\r\n', 'one'],
    ['one\n\n', 'one\n'],
    [' one \n', ' one '],
  ])('loses one line end and nothing else: %j', (content, password) => {
    const variables = { ...PRODUCTION, DATABASE_URL: 'postgres://app@db/latchkey' };
    const { databaseUrl = '' } = read({ ...variables, DATABASE_PASSWORD_FILE: fileOf(content) });
    expect(new URL(databaseUrl).searchParams.get('password')).toBe(password);
  });

  it('may stand beside an empty variable, which Docker Compose sets', () => {
    const KEY_ENCRYPTION_KEY_FILE = fileOf(PRODUCTION.KEY_ENCRYPTION_KEY);
    expect(read({ ...PRODUCTION, KEY_ENCRYPTION_KEY: '', KEY_ENCRYPTION_KEY_FILE }).keyEncryptionKeys).toEqual([KEY]);
    expect(read({ ...PRODUCTION, KEY_ENCRYPTION_KEY_FILE: '' }).keyEncryptionKeys).toEqual([KEY]);
  });

  it.each([
    ['that is missing', () => path.join(folder, 'none'), 'must name a readable file (ENOENT)'],
    ['that is a folder', () => folder, 'must name a readable file (EISDIR)'],
    ['that is empty', () => fileOf('\n'), 'must name a file that is not empty'],
    ['of bytes', () => fileOf(Buffer.from([0xff, 0xfe, 0x41])), 'must name a file of UTF-8 text'],
    // The secret itself was set under the name that ends in _FILE.
    ['named by the secret itself', () => 'hunter2-hunter2', 'must name a readable file (ENOENT)'],
  ])('is refused in one sentence without its path: %s', (_, file, rule) => {
    expect(problemsOf({ REDIS_URL_FILE: file() })).toEqual([`REDIS_URL_FILE ${rule}`]);
  });

  it('follows the rules of its setting and is never shown', () => {
    expect(problemsOf({ KEY_ENCRYPTION_KEY_FILE: fileOf('hunter2') })).toEqual([
      'KEY_ENCRYPTION_KEY must be 32 random bytes as base64 or hexadecimal (openssl rand -base64 32)',
    ]);
  });

  it('is refused beside the variable under either name', () => {
    const KEY_ENCRYPTION_KEY_FILE = fileOf(PRODUCTION.KEY_ENCRYPTION_KEY);
    expect(problemsOf({ ...PRODUCTION, KEY_ENCRYPTION_KEY_FILE })).toEqual([
      'KEY_ENCRYPTION_KEY and KEY_ENCRYPTION_KEY_FILE are both set: set one of them',
    ]);
    const { KEY_ENCRYPTION_KEY: KEY_ENCRYPTION_KEYS, ...others } = PRODUCTION;
    expect(problemsOf({ ...others, KEY_ENCRYPTION_KEYS, KEY_ENCRYPTION_KEY_FILE })).toEqual([
      expect.stringContaining('KEY_ENCRYPTION_KEYS and KEY_ENCRYPTION_KEY are both set'),
    ]);
  });

  it('is accepted only for secrets', () => {
    expect(read({ PORT_FILE: fileOf('4000') }).port).toBe(3000);
  });
});
