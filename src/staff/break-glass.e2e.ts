import pg from 'pg';
import type { Answer, StaffMember } from '../../test/support/app.ts';
import { runCommand } from '../../test/support/command.ts';
import { Receiver } from '../../test/support/receiver.ts';
import { secret } from '../../test/support/secrets.ts';
import { until } from '../../test/support/sign-ins.ts';
import { type SingleSignOn, signInAs, startSingleSignOn, type Visitor } from '../../test/support/single-sign-on.ts';
import { SettingsService } from '../settings/settings.service.ts';
import { SYSTEM } from '../platform/common/principal.ts';

const SETTINGS = '/admin/settings';
const SESSION = '/admin/session';
let sso: SingleSignOn;
/** An admin with a password, who has a session with a token. */
let local: StaffMember;
/** An admin of the identity provider. */
let visitor: Visitor;

beforeEach(async () => {
  sso = await startSingleSignOn({ WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8' });
  local = await sso.app.asStaff('admin');
  ({ visitor } = await signInAs(sso, 'boss', { email: 'boss@company.example', name: 'Boss', groups: ['g-admins'] }));
});
afterEach(async () => {
  await sso.app.close();
  await sso.provider.close();
});

const asLocal = (method: string, path: string, json?: unknown): Promise<Answer> =>
  sso.app.request(method, path, { token: local.token, json });
const codeOf = (answer: Answer): [number, string] => [answer.status, answer.json<{ code: string }>().code];
const mark = (id: string, breakGlass = true): Promise<Answer> => asLocal('PATCH', `/admin/staff/${id}`, { breakGlass });
/** Gives an account a second factor, without the secret that nobody needs here. */
const withSecondFactor = (id: string): Promise<unknown> =>
  sso.app.dataSource.query(
    `UPDATE staff SET second_factor_at = now(), totp_secret = '\\x00', last_totp_step = 0 WHERE id = $1`,
    [id],
  );
const restrict = (): Promise<Answer> => visitor.request('PATCH', SETTINGS, { localSignIn: 'break-glass' });
const signIn = (member: StaffMember): Promise<Answer> =>
  sso.app.request('POST', SESSION, { json: { email: member.email, password: member.password } });

describe('passwords for break-glass accounts only', () => {
  it('can be chosen only in a session of single sign-on, and with a break-glass admin who has a second factor', async () => {
    expect(codeOf(await asLocal('PATCH', SETTINGS, { localSignIn: 'break-glass' }))).toEqual([
      409,
      'settings.single-sign-on-first',
    ]);
    expect(codeOf(await restrict())).toEqual([409, 'settings.no-break-glass']);
    (await mark(local.id)).expect(200);
    expect(codeOf(await restrict())).toEqual([409, 'settings.no-break-glass']);
    await withSecondFactor(local.id);
    expect((await restrict()).expect(200).json()['localSignIn']).toBe('break-glass');
    expect((await sso.app.request('GET', '/admin/session/methods')).json()['localSignIn']).toBe('break-glass');
    const settings = sso.app.app.nest.get(SettingsService);
    await settings.update({ localSignIn: 'everybody' }, SYSTEM);
    await expect(settings.update({ localSignIn: 'break-glass' }, SYSTEM)).rejects.toMatchObject({
      code: 'settings.single-sign-on-first',
    });
    expect((await visitor.request('PATCH', SETTINGS, { localSignIn: 'nobody' })).status).toBe(400);
  });

  it('refuse a right password of anybody else, and the session of before goes on', async () => {
    const other = await sso.app.newStaff('operator');
    await mark(local.id);
    await withSecondFactor(local.id);
    await restrict();
    expect(codeOf(await signIn(other))).toEqual([403, 'session.local-sign-in-off']);
    expect(codeOf(await signIn({ ...other, password: 'wrong' }))).toEqual([401, 'session.invalid-credentials']);
    expect((await sso.app.request('GET', SESSION, { token: other.token })).status).toBe(200);
    expect(codeOf(await signIn(local))).toEqual([401, 'session.code-required']);
    (await visitor.request('PATCH', SETTINGS, { localSignIn: 'everybody' })).expect(200);
    (await signIn(other)).expect(200);
  });

  it('keep the last break-glass admin: neither removed, demoted, attached nor made ordinary', async () => {
    const another = await sso.app.newStaff('admin');
    for (const { id } of [local, another]) {
      await mark(id);
      await withSecondFactor(id);
    }
    await restrict();
    (await visitor.request('PATCH', `/admin/staff/${another.id}`, { breakGlass: false })).expect(200);
    const path = `/admin/staff/${local.id}`;
    const refused = [
      await visitor.request('PATCH', path, { breakGlass: false }),
      await visitor.request('PATCH', path, { role: 'operator' }),
      await visitor.request('PUT', `${path}/identity`, { subject: 'another' }),
      await visitor.request('DELETE', path),
    ];
    expect(refused.map(codeOf)).toEqual(refused.map(() => [409, 'staff.last-admin']));
    (await visitor.request('DELETE', `/admin/staff/${another.id}`)).expect(204);
  });

  it('are not left without a way in when two break-glass admins go at the same moment', async () => {
    const another = await sso.app.newStaff('admin');
    for (const { id } of [local, another]) {
      await mark(id);
      await withSecondFactor(id);
    }
    await restrict();
    const answers = await Promise.all(
      [local, another].map(({ id }) => visitor.request('PATCH', `/admin/staff/${id}`, { breakGlass: false })),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
  });
});

describe('a break-glass account', () => {
  it('is one of at most three, of admins with a password', async () => {
    await withSecondFactor(local.id);
    const admins = [local, ...(await Promise.all([1, 2, 3].map(() => sso.app.newStaff('admin'))))];
    const answers = [];
    for (const { id } of admins) answers.push(await mark(id));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 409]);
    expect(answers.slice(3).map(codeOf)).toEqual([[409, 'staff.too-many-break-glass']]);
    const operator = await sso.app.newStaff('operator');
    expect(codeOf(await mark(operator.id))).toEqual([409, 'staff.break-glass-admin-only']);
    const { items } = (await asLocal('GET', '/admin/staff')).json<{ items: { id: string; identity: unknown }[] }>();
    const boss = items.find(({ identity }) => identity !== null)?.id ?? '';
    expect(codeOf(await mark(boss))).toEqual([409, 'staff.break-glass-admin-only']);
    const [first] = admins;
    (await asLocal('PATCH', `/admin/staff/${admins[1]?.id ?? ''}`, { role: 'operator' })).expect(200);
    (await mark(admins[3]?.id ?? '')).expect(200);
    expect((await asLocal('GET', `/admin/staff/${admins[1]?.id ?? ''}`)).json()['breakGlass']).toBe(false);
    expect((await asLocal('GET', `/admin/staff/${first?.id ?? ''}`)).json()['breakGlass']).toBe(true);
  });

  it('is one of at most three, also if two people become admins with one at the same moment', async () => {
    await withSecondFactor(local.id);
    for (const { id } of [local, await sso.app.newStaff('admin')]) (await mark(id)).expect(200);
    const people = await Promise.all([1, 2].map(() => sso.app.newStaff('viewer')));
    const holder = new pg.Client({ connectionString: sso.app.databaseUrl });
    await holder.connect();
    try {
      await holder.query('BEGIN');
      await holder.query(`SELECT FROM staff WHERE role = 'admin' FOR UPDATE`);
      const changes = people.map(({ id }) =>
        visitor.request('PATCH', `/admin/staff/${id}`, { role: 'admin', breakGlass: true }),
      );
      await until(async () => {
        const { rowCount } = await holder.query(
          `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
        );
        return rowCount === people.length;
      }, 'both changes wait');
      await holder.query('COMMIT');
      expect((await Promise.all(changes)).map(({ status }) => status).sort()).toEqual([200, 409]);
    } finally {
      await holder.end();
    }
  });

  it('needs a second factor before anything else, and cannot turn it off', async () => {
    await mark(local.id);
    expect((await asLocal('GET', SESSION)).json()['enrolmentRequired']).toBe(true);
    expect(codeOf(await asLocal('GET', '/admin/channel-users'))).toEqual([403, 'session.enrolment-required']);
    await withSecondFactor(local.id);
    (await asLocal('GET', '/admin/channel-users')).expect(200);
    const off = await asLocal('DELETE', `${SESSION}/totp`, { currentPassword: local.password });
    expect(codeOf(off)).toEqual([409, 'session.second-factor-required']);
  });

  it('is a notice at each use at once, with the id of the account and no name', async () => {
    const receiver = await Receiver.start();
    const json = { url: receiver.url, events: ['staff.break_glass_used'] };
    const webhook = (await asLocal('POST', '/admin/webhooks', json)).expect(201);
    secret(webhook.json<{ secret: string }>().secret);
    await mark(local.id);
    for (let use = 1; use <= 2; use++) {
      secret((await signIn(local)).expect(200).json<{ accessToken: string }>().accessToken);
      const messages = await receiver.received('staff.break_glass_used', use);
      expect(messages.at(-1)?.data).toEqual({ staff: { id: local.id } });
      expect(messages.at(-1)?.body).not.toContain(local.email);
    }
    await receiver.close();
  });
});

describe('the command line', () => {
  it('undoes all of it', async () => {
    const command = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await runCommand(sso.app, ['staff', ...args]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      return stdout;
    };
    const { email } = local;
    expect(await command('break-glass', '--email', email)).toContain('It has no second factor');
    await withSecondFactor(local.id);
    await restrict();
    expect(await command('allow-passwords')).toContain('Everybody');
    expect(await command('break-glass', '--email', email, '--off')).toContain('ordinary');
    await command('reset-second-factor', '--email', email);
    secret((await signIn(local)).expect(200).json<{ accessToken: string }>().accessToken);
    const detached = await command('detach-identity', '--email', 'boss@company.example');
    const password = /^Password: (\S+)$/m.exec(detached)?.[1] ?? '';
    await sso.app.signIn('boss@company.example', password);
    expect((await visitor.request('GET', SESSION)).status).toBe(401);
  });
});
