import { readFile } from 'node:fs/promises';
import { TOTP } from 'otpauth';
import type { Page } from 'playwright-core';
import { chromiumPath, inspect, inspectWide } from '../support/browser.ts';
import { ConsoleStage } from '../support/console.ts';
import { secret } from '../support/secrets.ts';

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

// The story is told once, each chapter after the one before; each looks at several pages four times.

const CONNECTIVITY = 'Blue Channel Manager';

let stage: ConsoleStage;
let url: string;
const findings: string[] = [];

const look = async (page: Page, name: string): Promise<void> => {
  findings.push(...(await inspect(page, name)));
};

interface Provisioned {
  readonly id: string;
  readonly username: string;
  readonly displayName: string;
  readonly password: string;
}

async function provision(
  staff: string,
  displayName: string,
  username = displayName.toLowerCase().replaceAll(' ', '-'),
): Promise<Provisioned> {
  const answer = await stage.asStaff(staff, 'POST', '/admin/channel-users', { username, displayName });
  expect(answer.status).toBe(201);
  const { channelUser, credential } = (await answer.json()) as {
    channelUser: { id: string };
    credential: { password: string };
  };
  return { id: channelUser.id, username, displayName, password: secret(credential.password) };
}

type Cell = string | number | string[] | null;

/** The rows of a CSV file, by RFC 4180. */
function rowsOf(csv: string): string[][] {
  const cells = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g;
  const rows: string[][] = [[]];
  for (const [, quoted, plain = '', end] of csv.matchAll(cells)) {
    rows.at(-1)?.push(quoted?.replaceAll('""', '"') ?? plain);
    if (end === '\r\n') rows.push([]);
  }
  expect(rows.pop()).toEqual([]);
  return rows;
}

story('the console', () => {
  const operator = { email: 'omar@latchkey.example', password: '' };
  const viewer = { email: 'vera@latchkey.example', password: '' };
  const partner = { id: '', username: '', password: '', token: '' };

  beforeAll(async () => {
    stage = await ConsoleStage.start(executable ?? '');
    url = stage.url;
  });
  afterEach(() => stage.leaveOpenPages());
  afterAll(() => stage.close());

  it('lets an admin sign in, see the overview and add colleagues', async () => {
    const { context, page } = await stage.somebody();
    await page.goto(`${url}/console/`);
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
    await look(page, 'sign-in');
    await stage.signIn(page, { ...stage.admin, password: 'not the password' });
    await page
      .getByRole('alert')
      .getByText(/password/i)
      .waitFor();
    await stage.signIn(page, stage.admin);
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
      const shown = page.getByRole('dialog', { name: `A link for ${name}` });
      const link = await shown.getByLabel('One-time link', { exact: true }).inputValue();
      person.password = await stage.choosePassword(link);
      await shown.getByRole('button', { name: 'I have copied the link' }).click();
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
  });

  it('lets an operator provision a partner with a short form and a one-time link', async () => {
    const { context, page } = await stage.somebody();
    await stage.signIn(page, operator);
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
    const recipient = await stage.somebody();
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

    const answer = await stage.generateToken(partner.username, partner.password);
    expect(answer.status).toBe(200);
    partner.token = answer.text;
    expect(await stage.me(partner.token)).toBe(200);
    await page.getByRole('tab', { name: 'Passwords' }).click();
    await page.getByText('Used', { exact: true }).waitFor();
    await look(page, 'partner-passwords');
    await page.getByRole('tab', { name: 'Account' }).click();
    await page.getByRole('button', { name: 'Edit' }).waitFor();
    await look(page, 'partner-account');
    await context.close();
  });

  it('rotates the password, after which the old one is refused', async () => {
    const { context, page } = await stage.somebody();
    await stage.signIn(page, operator);
    await page.getByRole('menuitem', { name: 'Overview' }).waitFor();
    await page.goto(`${url}/console/channel-users/${partner.id}/show?tab=credentials`);
    await page.getByRole('button', { name: 'New password' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('radio', { name: /Counted from now/ }).check();
    await dialog.getByLabel('The old one ends').click();
    await page.getByRole('option', { name: 'at once' }).click();
    await dialog.getByRole('radio', { name: /Show it to me now/ }).check();
    await look(page, 'rotate');
    await dialog.getByRole('button', { name: 'Create password' }).click();
    const password = secret(await page.getByLabel('Password', { exact: true }).inputValue());
    await page.getByRole('button', { name: 'I have saved it' }).click();

    expect(await stage.generateToken(partner.username, partner.password)).toEqual({
      status: 403,
      text: 'token expired',
      code: 'credential_expired',
    });
    partner.password = password;
    const answer = await stage.generateToken(partner.username, partner.password);
    expect(answer.status).toBe(200);
    // The token of the old password lives on, and so does the new one.
    expect([await stage.me(partner.token), await stage.me(answer.text)]).toEqual([200, 200]);
    await context.close();
  });

  it('suspends with a reason, which the trail shows, while the partner reads `token expired`', async () => {
    const { context, page } = await stage.somebody();
    await stage.signIn(page, operator);
    await page.getByRole('menuitem', { name: 'Partners' }).click();
    await page.getByText(CONNECTIVITY).first().click();
    await page.getByRole('button', { name: 'Suspend' }).click();
    const dialog = page.getByRole('dialog');
    await look(page, 'suspend');
    await dialog.getByRole('textbox', { name: /Reason/ }).fill('The contract has ended');
    await dialog.getByRole('button', { name: 'Suspend' }).click();
    await page.getByRole('button', { name: 'Reactivate' }).waitFor();
    expect(await stage.generateToken(partner.username, partner.password)).toEqual({
      status: 403,
      text: 'token expired',
      code: 'account_suspended',
    });
    expect(await stage.me(partner.token)).toBe(401);

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
    for (const [words, action] of [
      ['Partner suspended', 'channel-user.suspended'],
      ['Partner added', 'channel-user.created'],
      ['Password created', 'credential.created'],
      ['One-time link used', 'handover.revealed'],
      ['Staff member added', 'staff.created'],
    ] as const) {
      const chip = page.getByRole('row').getByTitle(action, { exact: true }).first();
      expect((await chip.innerText()).trim()).toBe(words);
    }
    await look(page, 'audit');
    // A later server may do what this console has no words for.
    await page.route('**/admin/audit-events?**', async (route) => {
      const answer = await route.fetch();
      await route.fulfill({ response: answer, body: (await answer.text()).replace('staff.created', 'moon.landed') });
    });
    await page.getByRole('button', { name: 'Refresh' }).click();
    await page.getByRole('row').getByText('moon.landed', { exact: true }).waitFor();
    await page.unroute('**/admin/audit-events?**');

    await page.goto(`${url}/console/channel-users/${partner.id}/show`);
    await page.getByRole('button', { name: 'Reactivate' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Reactivate' }).click();
    await page.getByRole('button', { name: 'Suspend' }).waitFor();
    expect(await stage.me(partner.token)).toBe(200);
    await page.getByRole('menuitem', { name: 'Overview' }).click();
    await page.getByText('1', { exact: true }).first().waitFor();
    await look(page, 'overview');
    await page.getByRole('menuitem', { name: 'Partners' }).click();
    await page.getByText(CONNECTIVITY).first().waitFor();
    await look(page, 'partners');
    await context.close();
  });

  it('shows a viewer everything but allows no change', async () => {
    const { context, page } = await stage.somebody();
    await stage.signIn(page, viewer);
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
  });

  it('shows what changed when an operator saves an outdated version, and keeps what was typed', async () => {
    const [first, second] = [await stage.somebody(), await stage.somebody()];
    for (const { page } of [first, second]) {
      await stage.signIn(page, operator);
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
  });

  it('suspends many at once with a reason, ends their tokens and reports failures', async () => {
    const staff = await stage.tokenOf(stage.admin);
    const many = [];
    for (const name of ['Bulk One', 'Bulk Two', 'Bulk Three', 'Bulk Four']) many.push(await provision(staff, name));
    const tokens = [];
    for (const { username, password } of many) tokens.push((await stage.generateToken(username, password)).text);
    const [kept, gone, ...suspended] = many;
    if (!kept || !gone) throw new Error('There are too few');

    const { context, page } = await stage.somebody();
    await stage.signIn(page, operator);
    await page.getByRole('menuitem', { name: 'Partners' }).click();
    await page.getByRole('searchbox', { name: 'Search' }).fill('Bulk');
    await page.getByRole('heading', { name: '4 partners' }).waitFor();
    for (const { displayName } of [gone, ...suspended]) {
      await page.getByRole('row').filter({ hasText: displayName }).getByRole('checkbox').check();
    }
    await page.getByText('3 items selected').waitFor();
    await page.getByRole('button', { name: 'Suspend' }).click();
    const dialog = page.getByRole('dialog', { name: 'Suspend 3 partners?' });
    await dialog.getByText('their existing tokens are refused from the next call on').waitFor();
    expect(await dialog.getByRole('button', { name: 'Suspend' }).isDisabled()).toBe(true);
    await dialog.getByRole('textbox', { name: /Reason/ }).fill('Unpaid since June');
    await look(page, 'bulk-suspend');
    // Somebody else deletes one meanwhile.
    expect((await stage.asStaff(staff, 'DELETE', `/admin/channel-users/${gone.id}`)).status).toBe(204);
    await dialog.getByRole('button', { name: 'Suspend' }).click();
    await dialog.getByText('2 partners suspended. 1 could not be.').waitFor();
    const failures = await dialog.getByRole('list', { name: 'What failed' }).getByRole('listitem').allInnerTexts();
    expect(failures).toHaveLength(1);
    expect(failures[0]).toMatch(/^Bulk Two: .*(no|not).*(channel user|found|exist)/i);
    await look(page, 'bulk-suspended');
    await dialog.getByRole('button', { name: 'Close' }).click();
    await page.getByRole('heading', { name: '3 partners' }).waitFor();
    await page.getByRole('row').filter({ hasText: 'Bulk Three' }).getByText('Suspended').waitFor();

    expect(await Promise.all(tokens.map((token) => stage.me(token)))).toEqual([200, 401, 401, 401]);
    for (const { id } of suspended) {
      const trail = await stage.asStaff(staff, 'GET', `/admin/audit-events?target=${id}&action=channel-user.suspended`);
      const { items } = (await trail.json()) as { items: { reason: string; actor: { name: string } }[] };
      expect(items.map(({ reason, actor }) => [reason, actor.name])).toEqual([['Unpaid since June', 'Omar Operator']]);
    }
    // Nobody has to find out which: those of the selection that are left are still selected, the others are not.
    expect(await page.getByRole('row').getByRole('checkbox', { checked: true }).count()).toBe(0);
    await context.close();
  });

  it('downloads the filtered list as CSV that is safe in a spreadsheet', async () => {
    const staff = await stage.tokenOf(stage.admin);
    await provision(staff, '=HYPERLINK("https://evil.example";"Bulk, of a formula")', 'bulk-formula');
    const { context, page } = await stage.somebody();
    await stage.signIn(page, viewer);
    await page.getByRole('menuitem', { name: 'Partners' }).click();
    await page.getByRole('searchbox', { name: 'Search' }).fill('Bulk');
    await page.getByRole('heading', { name: '4 partners' }).waitFor();
    await page.getByRole('combobox', { name: 'State' }).click();
    await page.getByRole('option', { name: 'Active' }).click();
    await page.getByRole('heading', { name: '2 partners' }).waitFor();
    const arrives = page.waitForEvent('download');
    await page.getByRole('link', { name: 'Export CSV' }).click();
    const download = await arrives;
    expect(download.suggestedFilename()).toMatch(/^channel-users-\d{4}-\d\d-\d\d\.csv$/);
    const [names = [], ...lines] = rowsOf(await readFile(await download.path(), 'utf8'));

    const answer = await stage.asStaff(staff, 'GET', '/admin/channel-users?q=Bulk&status=active');
    const { items } = (await answer.json()) as { items: Record<string, Cell>[] };
    expect(items.map(({ username }) => username)).toEqual(['bulk-formula', 'bulk-one']);
    const text = (value: Cell = null): string => (Array.isArray(value) ? value.join(' ') : String(value ?? ''));
    expect(lines).toEqual(items.map((item) => names.map((name) => text(item[name]).replace(/^(?=[=+\-@\t\r])/, "'"))));
    for (const cell of lines.flat()) expect(cell).not.toMatch(/^[=+\-@\t\r]/);
    await context.close();
  });

  it('reports a lost network or server, keeps what was typed and continues afterwards', async () => {
    const { context, page } = await stage.somebody();
    await stage.signIn(page, operator);
    await page.getByRole('menuitem', { name: 'Overview' }).waitFor();
    await page.goto(`${url}/console/channel-users/${partner.id}/show`);
    await page.getByRole('button', { name: 'Edit' }).click();
    const notes = page.getByRole('textbox', { name: 'Notes' });
    await notes.fill('Typed without a network');
    await context.setOffline(true);
    await page.getByText('You are offline. This page may be out of date').waitFor();
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('You are offline. Your input is kept').waitFor();
    expect(await notes.inputValue()).toBe('Typed without a network');
    await look(page, 'offline');
    await context.setOffline(false);
    await page.getByText('You are offline. This page may be out of date').waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Typed without a network').waitFor();
    await page.getByRole('button', { name: 'Edit' }).waitFor();

    await page.getByRole('menuitem', { name: 'Partners' }).click();
    await page.getByRole('link', { name: 'Add partner' }).first().click();
    await page.getByLabel('Display name').fill('Typed into the void');
    await stage.stopServer();
    await page.getByRole('button', { name: 'Add partner' }).click();
    await page.getByText('Latchkey cannot be reached').waitFor();
    expect(await page.getByLabel('Display name').inputValue()).toBe('Typed into the void');
    await look(page, 'server-gone');
    await stage.startServer();
    await page.getByRole('button', { name: 'Add partner' }).click();
    secret(new URL(await page.getByRole('textbox', { name: 'One-time link' }).inputValue()).hash.slice(1));
    await page.getByRole('button', { name: 'I have copied the link' }).click();
    await page.getByRole('heading', { name: 'Typed into the void', level: 1 }).waitFor();

    // A list that cannot be renewed stays, and says so.
    await page.getByRole('menuitem', { name: 'Partners' }).click();
    await page.getByRole('row').filter({ hasText: 'Typed into the void' }).waitFor();
    await stage.stopServer();
    await page.getByRole('button', { name: 'Refresh' }).click();
    await page.getByText('Latchkey cannot be reached').waitFor();
    await page.getByRole('row').filter({ hasText: 'Typed into the void' }).waitFor();
    await stage.startServer();
    await page.getByRole('button', { name: 'Refresh' }).click();
    await page.getByText('Latchkey cannot be reached').waitFor({ state: 'detached' });
    await context.close();
  });

  it('uses the width of a wide screen', async () => {
    const { context, page } = await stage.somebody();
    await stage.signIn(page, stage.admin);
    const pages = {
      overview: ['Overview', () => page.getByRole('heading', { name: /\d partners/, level: 1 })],
      partners: ['Partners', () => page.getByRole('row').filter({ hasText: 'Bulk One' })],
      audit: ['Audit', () => page.getByRole('row').filter({ hasText: 'Partner suspended' }).first()],
    } as const;
    const shares: Record<string, number> = {};
    for (const [name, [item, shown]] of Object.entries(pages)) {
      await page.getByRole('menuitem', { name: item }).click();
      await shown().waitFor();
      const { sideways, share } = await inspectWide(page, name);
      expect([name, sideways]).toEqual([name, []]);
      shares[name] = share;
    }
    await page.goto(`${url}/console/channel-users/${partner.id}/show`);
    await page.getByRole('button', { name: 'Edit' }).waitFor();
    const { sideways, share } = await inspectWide(page, 'partner');
    expect(sideways).toEqual([]);
    // Tables take what there is; what is read stays within a line's length.
    expect(shares['partners']).toBeGreaterThan(0.8);
    expect(shares['audit']).toBeGreaterThan(0.8);
    expect(share).toBeGreaterThan(0.5);
    await context.close();
  });

  it('requires a second factor once one is set up', async () => {
    const { context, page } = await stage.somebody();
    await stage.signIn(page, viewer);
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

    const again = await stage.somebody();
    await stage.signIn(again.page, viewer);
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
  });

  it('passes checks of keyboard, screen reader, themes and phone on every page', () => {
    expect(findings).toEqual([]);
    expect(stage.complaints).toEqual([]);
  });
});
