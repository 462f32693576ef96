import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Answer, TestApp } from '../support/app.ts';
import { keepOutput, secret } from '../support/secrets.ts';

/** The files of docs/provisioning-as-code.md, as they are printed there. */
const ROOT = path.resolve(import.meta.dirname, '../..');
const COMMAND_MS = 60_000;

interface ChannelUser extends Record<string, unknown> {
  id: string;
  version: number;
}

let app: TestApp;
let admin: string;
let key: string;
let account: string;
let folder: string;
let page: string;

/** The first block of a language. */
const block = (language: string): string =>
  new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'ms').exec(page)?.[1] ?? '';

beforeAll(async () => {
  page = await readFile(path.join(ROOT, 'docs/provisioning-as-code.md'), 'utf8');
  app = await TestApp.start();
  admin = (await app.asStaff('admin')).token;
  const created = await app.request('POST', '/admin/service-accounts', {
    token: admin,
    json: { name: 'provisioning', role: 'operator' },
  });
  const body = created.expect(201).json<{ id: string; key: string }>();
  account = body.id;
  key = secret(body.key);
  folder = await mkdtemp(path.join(tmpdir(), 'latchkey-provisioning-'));
  await symlink(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'));
});
beforeEach(async () => {
  await rm(path.join(folder, 'links.csv'), { force: true });
  await writeFile(path.join(folder, 'partners.yaml'), block('yaml'));
  await writeFile(path.join(folder, 'apply-partners.mjs'), block('js'));
});
afterAll(async () => {
  await app.close();
  await rm(folder, { recursive: true, force: true });
});

/** Runs the script as the page says. */
async function apply(): Promise<{ code: number; stdout: string; stderr: string }> {
  const env = { PATH: process.env['PATH'], LATCHKEY_URL: app.url, LATCHKEY_KEY: key };
  const args = ['apply-partners.mjs', 'partners.yaml', 'links.csv'];
  const ran = await new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    execFile(process.execPath, args, { cwd: folder, env, timeout: COMMAND_MS }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
  keepOutput(ran.stdout + ran.stderr);
  return ran;
}

const asScript = (method: string, url: string, json?: unknown): Promise<Answer> =>
  app.request(method, url, { token: key, json });
const read = async (username: string): Promise<ChannelUser> =>
  (await asScript('GET', `/admin/channel-users/by-username/${username}`)).expect(200).json<ChannelUser>();
const eventsOfScript = async (): Promise<string[]> => {
  const rows = await app.dataSource.query<{ action: string }[]>(
    'SELECT action FROM audit_event WHERE actor_id = $1 ORDER BY seq',
    [account],
  );
  return rows.map(({ action }) => action);
};
const linksOf = async (): Promise<Map<string, string>> => {
  const lines = (await readFile(path.join(folder, 'links.csv'), 'utf8')).trim().split('\n');
  return new Map(lines.map((line) => line.split(',') as [string, string]));
};

it('runs the script twice: the first run creates the partners with links, the second changes nothing', async () => {
  expect(block('js').split('\n').length).toBeLessThanOrEqual(31);
  const first = await apply();
  expect(first).toEqual({
    code: 0,
    stderr: '',
    stdout:
      'blue-channel: created. The link for the partner is in links.csv.\n' +
      'red-channel: created. The link for the partner is in links.csv.\n',
  });
  const links = await linksOf();
  expect([...links.keys()]).toEqual(['blue-channel', 'red-channel']);
  expect((await stat(path.join(folder, 'links.csv'))).mode & 0o777).toBe(0o600);
  const blue = await read('blue-channel');
  expect(blue).toMatchObject({
    displayName: 'Blue Channel Manager',
    scopes: ['calendar:write', 'property:read'],
    allowedIps: ['192.0.2.0/24'],
    version: 1,
  });

  const events = await eventsOfScript();
  const second = await apply();
  expect(second).toEqual({ code: 0, stderr: '', stdout: 'blue-channel: version 1\nred-channel: version 1\n' });
  expect(await eventsOfScript()).toEqual(events);
  expect(await linksOf()).toEqual(links);
  expect(await read('blue-channel')).toEqual(blue);

  // The link is what shows the password, once.
  const revealed = await app.request('POST', '/handover/reveal', {
    json: { secret: secret(links.get('red-channel')?.split('#')[1] ?? '') },
  });
  const { username, password } = revealed.expect(200).json<{ username: string; password: string }>();
  await app.generateToken({ username, password: secret(password) });
});

it('changes what was changed in the file, and tells what the file has wrong', async () => {
  await apply();
  const before = await eventsOfScript();
  await writeFile(
    path.join(folder, 'partners.yaml'),
    block('yaml').replace('tokensPerMinute: 120', 'tokensPerMinute: 0').replace('Blue Channel Manager', 'Blue Two'),
  );
  const ran = await apply();
  expect(ran.code).toBe(1);
  expect(ran.stdout).toMatch(/^blue-channel: version \d+\n$/);
  expect(ran.stderr).toContain('red-channel: request.invalid: ');
  expect(ran.stderr).toContain('tokensPerMinute must be at least 1');
  expect((await eventsOfScript()).slice(before.length)).toEqual(['channel-user.updated']);
  expect((await read('blue-channel'))['displayName']).toBe('Blue Two');
});

/**
 * The requests that the Terraform provider sends with the configuration of the page: what it writes, it compares with
 * what it reads.
 */
it('answers the Terraform provider so that its state holds no secret and its second plan is empty', async () => {
  const config = block('hcl');
  const valueOf = (name: string): string => new RegExp(`^ +${name} += "?(.*?)"?$`, 'm').exec(config)?.[1] ?? '';
  expect(config).not.toMatch(/returns_object|debug/);
  expect([valueOf('create_method'), valueOf('object_id'), valueOf('ignore_server_additions')]).toEqual([
    'PUT',
    'each.key',
    'true',
  ]);
  const id = 'terraform-partner';
  const fields = {
    displayName: 'By Terraform',
    scopes: ['property:read', 'calendar:write'],
    allowedIps: ['192.0.2.0/24', '2001:db8::/32'],
    tokensPerMinute: 5,
    notes: null,
    expiresAt: '2040-01-31T00:00:00.000Z',
  };
  const json = { ...fields, deliver: 'link' };
  const created = await asScript(valueOf('create_method'), valueOf('create_path').replace('{id}', id), json);
  const { handoverUrl } = created.expect(201).json<{ handoverUrl: string }>();
  secret(handoverUrl.split('#')[1] ?? '');

  const item = `${valueOf('path')}/${id}`;
  const answer = await asScript('GET', item);
  const state = answer.expect(200).json();
  expect(answer.text).not.toMatch(/password|handover|secret/i);
  const drift = Object.entries(fields).filter(([name, value]) => JSON.stringify(state[name]) !== JSON.stringify(value));
  expect(drift).toEqual([]);
  expect(valueOf('ignore_changes_to')).toBe('["deliver"]');

  // An update is a PUT to the same path.
  const updated = await asScript('PUT', item, { ...json, displayName: 'By Terraform, again' });
  expect(updated.status).toBe(200);
  expect((await read(id))['displayName']).toBe('By Terraform, again');
  expect((await asScript('DELETE', item)).status).toBe(405);
});
