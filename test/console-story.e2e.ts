import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { TOTP } from 'otpauth';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { chromiumPath, complaintsOf, DESKTOP, inspect, keepPicture, launch } from './support/browser.ts';
import { createDatabase } from './support/database.ts';
import { keepOutput, secret } from './support/secrets.ts';
import { isRunning, ServerProcess } from './support/server.ts';

/**
 * The whole story in a real browser, against the built server: `.ci/run` installs Chromium and always tells it.
 * Pictures of every page are left in `screenshots/`.
 */
const executable = chromiumPath();
if (executable === undefined) {
  process.stderr.write(
    'console-story: skipped, there is no Chromium (set CHROMIUM_PATH, or put chromium on the PATH)\n',
  );
}
const story = executable === undefined ? describe.skip : describe;

/** The story is told once, each chapter after the one before; each looks at several pages four times. */
const CHAPTER_MS = 300_000;

const CONNECTIVITY = 'Blue Channel Manager';

let database: { url: string; drop: () => Promise<void> } | undefined;
let server: ServerProcess | undefined;
let url: string;
let environment: Record<string, string>;
let browser: Browser | undefined;
const complaints: string[] = [];
const findings: string[] = [];
const open = new Set<Page>();

async function freePort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as { port: number };
  listener.close();
  await once(listener, 'close');
  return port;
}

async function cli(...args: string[]): Promise<string> {
  const command = new ServerProcess({ env: environment, command: [process.execPath, 'dist/src/cli.js', ...args] });
  expect({ exited: await command.exited, stderr: command.stderr }).toEqual({ exited: 0, stderr: '' });
  return command.stdout;
}

/** A browser of its own for somebody. */
async function somebody(): Promise<{ context: BrowserContext; page: Page }> {
  if (!browser) throw new Error('The browser was not started');
  const context = await browser.newContext({ viewport: DESKTOP, reducedMotion: 'reduce' });
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const heard = complaintsOf(context);
  open.add(page);
  context.once('close', () => {
    complaints.push(...heard);
    open.delete(page);
  });
  return { context, page };
}

async function signIn(page: Page, { email, password }: { email: string; password: string }): Promise<void> {
  await page.goto(`${url}/console/`);
  await page.getByLabel('E-mail').fill(email);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

const look = async (page: Page, name: string): Promise<void> => {
  findings.push(...(await inspect(page, name)));
};

async function generateToken(
  username: string,
  password: string,
): Promise<{ status: number; text: string; code: string | null }> {
  const answer = await fetch(`${url}/generateToken`, {
    method: 'POST',
    body: new URLSearchParams({ Username: username, Password: password }),
  });
  const text = await answer.text();
  if (answer.status === 200) secret(text);
  return { status: answer.status, text, code: answer.headers.get('error-code') };
}

async function me(token: string): Promise<number> {
  return (await fetch(`${url}/me`, { headers: { authorization: `Bearer ${token}` } })).status;
}

story('the console', () => {
  const admin = { email: 'ada@latchkey.example', password: '' };
  const operator = { email: 'omar@latchkey.example', password: '' };
  const viewer = { email: 'vera@latchkey.example', password: '' };
  const partner = { id: '', username: '', password: '', token: '' };

  beforeAll(async () => {
    database = await createDatabase();
    const port = await freePort();
    environment = {
      DATABASE_URL: database.url,
      PORT: String(port),
      PUBLIC_URL: `http://127.0.0.1:${String(port)}`,
      KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    };
    const created = await cli('staff', 'create', '--email', admin.email, '--name', 'Ada Admin');
    admin.password = secret(/password: (\S+)/i.exec(created)?.[1] ?? '');
    server = new ServerProcess({ env: environment });
    url = await server.listening();
    browser = await launch(executable ?? '');
  }, CHAPTER_MS);

  // What a chapter that failed left open: its picture tells why.
  afterEach(async () => {
    for (const page of open) {
      await keepPicture(page, `failed-${String(Date.now())}`);
      await page.context().close();
    }
  });

  afterAll(async () => {
    await browser?.close();
    if (server && isRunning(server.pid)) await server.kill('SIGTERM');
    keepOutput(`${server?.stdout ?? ''}${server?.stderr ?? ''}`);
    await database?.drop();
  }, CHAPTER_MS);

  it(
    'lets an admin sign in, who sees what is there and adds colleagues',
    async () => {
      const { context, page } = await somebody();
      await page.goto(`${url}/console/`);
      await page.getByRole('button', { name: 'Sign in' }).waitFor();
      await look(page, 'sign-in');
      await signIn(page, { ...admin, password: 'not the password' });
      await page
        .getByRole('alert')
        .getByText(/password/i)
        .waitFor();
      await signIn(page, admin);
      await page.getByRole('menuitem', { name: 'Overview' }).waitFor();
      await page.getByText('Partners', { exact: true }).first().waitFor();
      await look(page, 'overview-empty');

      await page.getByRole('menuitem', { name: 'Staff' }).click();
      for (const [person, name, role] of [
        [operator, 'Omar Operator', 'Operator'],
        [viewer, 'Vera Viewer', 'Viewer'],
      ] as const) {
        await page.getByRole('button', { name: /Add/ }).first().click();
        const dialog = page.getByRole('dialog');
        await dialog.getByLabel('E-mail').fill(person.email);
        await dialog.getByLabel('Name').fill(name);
        await dialog.getByLabel('Role').click();
        await page.getByRole('option', { name: new RegExp(role, 'i') }).click();
        await dialog.getByRole('button', { name: /Add|Create|Save/ }).click();
        const shown = page.getByRole('dialog', { name: 'The new password' });
        person.password = secret(await shown.getByLabel('Password', { exact: true }).inputValue());
        await shown.getByRole('button', { name: 'I have handed it over' }).click();
        await shown.waitFor({ state: 'hidden' });
      }
      await page.getByText(viewer.email).waitFor();
      await look(page, 'staff');
      await page.getByRole('menuitem', { name: 'Signing keys' }).click();
      await page
        .getByRole('button', { name: /Rotate/ })
        .first()
        .waitFor();
      await look(page, 'signing-keys');
      await page.getByRole('menuitem', { name: 'Settings' }).click();
      await page
        .getByText(/second factor/i)
        .first()
        .waitFor();
      await look(page, 'settings');
      await context.close();
    },
    CHAPTER_MS,
  );

  it(
    'takes an operator a short form to provision a partner, who gets a one-time link',
    async () => {
      const { context, page } = await somebody();
      await signIn(page, operator);
      await page.getByRole('menuitem', { name: 'Partners' }).click();
      await page.getByRole('link', { name: 'Add partner' }).first().waitFor();
      await look(page, 'partners-empty');
      await page.getByRole('link', { name: 'Add partner' }).first().click();
      await page.getByLabel('Display name').fill(CONNECTIVITY);
      partner.username = await page.getByLabel('Username').inputValue();
      expect(partner.username).toBe('blue-channel-manager');
      await page.getByLabel('Allowed addresses').fill('10.0.0.300');
      await page.getByText('is not an IP address').waitFor();
      await look(page, 'provision');
      await page.getByLabel('Allowed addresses').fill('127.0.0.0/8');
      await page.keyboard.press('Enter');
      await page.getByRole('button', { name: 'Add partner' }).click();
      const link = await page.getByRole('textbox', { name: 'One-time link' }).inputValue();
      secret(new URL(link).hash.slice(1));
      await look(page, 'handover-link');
      await page.getByRole('button', { name: 'I have copied the link' }).click();
      await page.getByRole('tab', { name: 'Passwords' }).waitFor();
      partner.id = /channel-users\/([0-9a-f-]{36})/.exec(page.url())?.[1] ?? '';
      expect(partner.id).not.toBe('');

      // A mail scanner looks at it first; that uses nothing up.
      expect((await fetch(link)).status).toBe(200);
      expect((await fetch(link, { method: 'HEAD' })).status).toBe(200);
      const recipient = await somebody();
      await recipient.page.goto(link);
      await recipient.page.getByRole('button', { name: 'Reveal' }).waitFor();
      await look(recipient.page, 'handover');
      await recipient.page.getByRole('button', { name: 'Reveal' }).click();
      await recipient.page.locator('#password').waitFor();
      partner.password = secret(await recipient.page.locator('#password').innerText());
      expect(await recipient.page.locator('#username').innerText()).toBe(partner.username);
      await look(recipient.page, 'handover-revealed');
      await recipient.page.goto('about:blank');
      await recipient.page.goto(link);
      await recipient.page.getByRole('button', { name: 'Reveal' }).click();
      await recipient.page.getByRole('heading', { name: 'This link does not work' }).waitFor();
      await look(recipient.page, 'handover-gone');
      await recipient.context.close();

      const answer = await generateToken(partner.username, partner.password);
      expect(answer.status).toBe(200);
      partner.token = answer.text;
      expect(await me(partner.token)).toBe(200);
      await page.getByRole('tab', { name: 'Passwords' }).click();
      await page.getByText('Used', { exact: true }).waitFor();
      await look(page, 'partner-passwords');
      await page.getByRole('tab', { name: 'Limits' }).click();
      await page.getByRole('button', { name: 'Edit' }).waitFor();
      await look(page, 'partner-limits');
      await context.close();
    },
    CHAPTER_MS,
  );

  it(
    'rotates the password: the old one ends, and the partner reads so',
    async () => {
      const { context, page } = await somebody();
      await signIn(page, operator);
      await page.getByRole('menuitem', { name: 'Overview' }).waitFor();
      await page.goto(`${url}/console/channel-users/${partner.id}/show?tab=credentials`);
      await page.getByRole('button', { name: 'New password' }).click();
      const dialog = page.getByRole('dialog');
      await dialog.getByLabel('The old one').click();
      await page.getByRole('option', { name: 'End at once' }).click();
      await dialog.getByRole('radio', { name: /Show it to me now/ }).check();
      await look(page, 'rotate');
      await dialog.getByRole('button', { name: 'Make password' }).click();
      const password = secret(await page.getByLabel('Password', { exact: true }).inputValue());
      await page.getByRole('button', { name: 'I have kept it' }).click();

      expect(await generateToken(partner.username, partner.password)).toEqual({
        status: 403,
        text: 'token expired',
        code: 'credential_expired',
      });
      partner.password = password;
      const answer = await generateToken(partner.username, partner.password);
      expect(answer.status).toBe(200);
      // The token of the old password lives on, and so does the new one.
      expect([await me(partner.token), await me(answer.text)]).toEqual([200, 200]);
      await context.close();
    },
    CHAPTER_MS,
  );

  it(
    'suspends with a reason: the partner reads `token expired`, and the trail tells it all',
    async () => {
      const { context, page } = await somebody();
      await signIn(page, operator);
      await page.getByRole('menuitem', { name: 'Partners' }).click();
      await page.getByText(CONNECTIVITY).first().click();
      await page.getByRole('button', { name: 'Suspend' }).click();
      const dialog = page.getByRole('dialog');
      await look(page, 'suspend');
      await dialog.getByRole('textbox', { name: /Reason/ }).fill('The contract has ended');
      await dialog.getByRole('button', { name: 'Suspend' }).click();
      await page.getByRole('button', { name: 'Reactivate' }).waitFor();
      expect(await generateToken(partner.username, partner.password)).toEqual({
        status: 403,
        text: 'token expired',
        code: 'account_suspended',
      });
      expect(await me(partner.token)).toBe(401);

      await page.getByRole('tab', { name: 'Sign-ins' }).click();
      await page
        .getByText(/suspended/i)
        .first()
        .waitFor();
      await look(page, 'partner-sign-ins');
      await page.getByRole('tab', { name: 'History' }).click();
      await page.getByText('The contract has ended').first().waitFor();
      await look(page, 'partner-history');

      await page.getByRole('menuitem', { name: 'Audit' }).click();
      await page.getByText('channel-user.suspended').first().waitFor();
      for (const action of ['channel-user.created', 'credential.created', 'handover.revealed', 'staff.created']) {
        await page.getByText(action).first().waitFor();
      }
      await look(page, 'audit');

      await page.goto(`${url}/console/channel-users/${partner.id}/show`);
      await page.getByRole('button', { name: 'Reactivate' }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Reactivate' }).click();
      await page.getByRole('button', { name: 'Suspend' }).waitFor();
      expect(await me(partner.token)).toBe(200);
      await page.getByRole('menuitem', { name: 'Overview' }).click();
      await page.getByText('1', { exact: true }).first().waitFor();
      await look(page, 'overview');
      await page.getByRole('menuitem', { name: 'Partners' }).click();
      await page.getByText(CONNECTIVITY).first().waitFor();
      await look(page, 'partners');
      await context.close();
    },
    CHAPTER_MS,
  );

  it(
    'shows a viewer everything and lets it change nothing',
    async () => {
      const { context, page } = await somebody();
      await signIn(page, viewer);
      await page.getByRole('menuitem', { name: 'Partners' }).click();
      await page.getByText(CONNECTIVITY).first().waitFor();
      expect(await page.getByRole('link', { name: 'Add partner' }).count()).toBe(0);
      expect(await page.getByRole('menuitem', { name: 'Staff' }).count()).toBe(0);
      await page.getByText(CONNECTIVITY).first().click();
      await page.getByRole('tab', { name: 'Passwords' }).click();
      await page.getByRole('heading', { name: 'Passwords' }).waitFor();
      for (const name of ['Suspend', 'Revoke tokens', 'Delete', 'New password', 'Edit']) {
        expect(await page.getByRole('button', { name }).count()).toBe(0);
      }
      // The API refuses the same.
      const refused = await page.evaluate(
        `fetch('/admin/channel-users/${partner.id}/suspend', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"reason":"x"}' }).then((answer) => answer.status)`,
      );
      expect(refused).toBe(403);
      await context.close();
    },
    CHAPTER_MS,
  );

  it(
    'tells an operator who saves an outdated version what changed, and loses nothing that was typed',
    async () => {
      const [first, second] = [await somebody(), await somebody()];
      for (const { page } of [first, second]) {
        await signIn(page, operator);
        await page.getByRole('menuitem', { name: 'Overview' }).waitFor();
        await page.goto(`${url}/console/channel-users/${partner.id}/show`);
        await page.getByRole('button', { name: 'Edit' }).click();
      }
      await second.page.getByLabel('Display name').fill('Renamed meanwhile');
      await second.page.getByRole('button', { name: 'Save' }).click();
      await second.page.getByRole('heading', { name: 'Renamed meanwhile', level: 1 }).waitFor();
      await first.page.getByRole('textbox', { name: 'Display name' }).fill('Blue Channels');
      await first.page.getByRole('button', { name: 'Save' }).click();
      await first.page.getByText('Somebody else changed this partner while you were editing').waitFor();
      expect(await first.page.getByRole('textbox', { name: 'Display name' }).inputValue()).toBe('Blue Channels');
      await look(first.page, 'conflict');
      await first.page.getByRole('button', { name: 'Keep mine' }).click();
      await first.page.getByRole('button', { name: 'Save again' }).click();
      await first.page.getByRole('heading', { name: 'Blue Channels', level: 1 }).waitFor();
      for (const { context } of [first, second]) await context.close();
    },
    CHAPTER_MS,
  );

  it(
    'asks for a second factor once one is set up',
    async () => {
      const { context, page } = await somebody();
      await signIn(page, viewer);
      await page.getByRole('menuitem', { name: 'Overview' }).waitFor();
      await page.goto(`${url}/console/profile`);
      await page.getByRole('button', { name: /Set up/ }).click();
      await page.getByRole('dialog').getByLabel('Current password').fill(viewer.password);
      await page.keyboard.press('Enter');
      const key = secret(await page.getByRole('textbox', { name: 'Key, if you cannot scan' }).inputValue());
      await look(page, 'second-factor');
      const totp = new TOTP({ secret: key });
      await page.getByRole('textbox', { name: 'Code' }).fill(totp.generate());
      await page.keyboard.press('Enter');
      const codes = (await page.getByRole('textbox', { name: 'Recovery codes' }).inputValue()).split('\n').map(secret);
      expect(codes).toHaveLength(10);
      await context.close();

      const again = await somebody();
      await signIn(again.page, viewer);
      await again.page.getByRole('textbox', { name: 'Code' }).fill(codes[0] ?? '');
      await again.page.getByRole('button', { name: 'Continue' }).click();
      await again.page.getByRole('menuitem', { name: 'Overview' }).waitFor();
      await again.page.goto(`${url}/console/profile`);
      await again.page.getByText('On', { exact: true }).waitFor();
      await look(again.page, 'profile');
      // Nothing secret stays behind in the browser.
      const stored = String(await again.page.evaluate('JSON.stringify({ ...localStorage, ...sessionStorage })'));
      expect(stored).not.toMatch(/eyJ|password|token/i);
      await again.context.close();
    },
    CHAPTER_MS,
  );

  it('keeps every page usable by keyboard, screen reader, in both themes and on a phone, without a complaint', () => {
    expect(findings).toEqual([]);
    expect(complaints).toEqual([]);
  });
});
