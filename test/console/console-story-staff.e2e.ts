import { randomBytes, randomUUID } from 'node:crypto';
import { chromiumPath, inspect } from '../support/browser.ts';
import { ConsoleStage } from '../support/console.ts';
import { secret } from '../support/secrets.ts';

/** What staff see of each other, of refusals and of the trail, in a real browser; see `console-story.e2e.ts`. */
const executable = chromiumPath();
const story = executable === undefined ? describe.skip : describe;

let stage: ConsoleStage;
const MIA = { email: 'mia@latchkey.example', password: secret('a long password of Mia') };

story('staff', () => {
  beforeAll(async () => {
    stage = await ConsoleStage.start(executable ?? '');
  });
  afterEach(() => stage.leaveOpenPages());
  afterAll(() => stage.close());

  it('lets a colleague choose a password by a link that works once and sign in', async () => {
    const { context, page } = await stage.somebody();
    await stage.signIn(page, stage.admin);
    await page.getByRole('menuitem', { name: 'Staff' }).click();
    await page.getByRole('button', { name: 'Add staff' }).click();
    const form = page.getByRole('dialog');
    await form.getByLabel('E-mail').fill(MIA.email);
    await form.getByLabel('Name').fill('Mia Berg');
    await form.getByRole('button', { name: 'Create' }).click();
    const link = await page.getByLabel('One-time link', { exact: true }).inputValue();
    secret(link.split('#')[1] ?? '');
    expect(link.startsWith(`${stage.url}/console/password-link#`)).toBe(true);
    expect(await inspect(page, 'staff-link')).toEqual([]);
    await page.getByRole('button', { name: 'I have copied the link' }).click();

    const { context: ofMia, page: mine } = await stage.somebody();
    await mine.goto(link);
    await mine.getByRole('heading', { name: 'Choose your password' }).waitFor();
    await mine.getByRole('button', { name: 'Set password' }).click();
    await mine.getByText('Use at least 12 characters.').waitFor();
    expect(await mine.evaluate('document.activeElement.id')).toBe('password');
    await mine.getByLabel('New password').fill(MIA.password);
    await mine.getByLabel('Repeat the password').fill(`${MIA.password}?`);
    await mine.getByRole('button', { name: 'Set password' }).click();
    await mine.getByText('The passwords differ.').waitFor();
    expect(await inspect(mine, 'password-link')).toEqual([]);
    const asks = mine.waitForEvent('dialog');
    await mine.evaluate('void setTimeout(() => location.reload())');
    const question = await asks;
    expect(question.type()).toBe('beforeunload');
    await question.dismiss();
    await mine.getByLabel('Repeat the password').fill(MIA.password);
    await mine.getByRole('button', { name: 'Set password' }).click();
    await mine.getByRole('heading', { name: 'Your password is set' }).waitFor();
    expect(await mine.getByText(MIA.email).isVisible()).toBe(true);
    expect(mine.url()).toBe(`${stage.url}/console/password-link`);
    expect(await inspect(mine, 'password-link-done')).toEqual([]);
    await mine.reload();
    await mine.getByRole('heading', { name: 'Your password is set' }).waitFor();
    expect(await mine.getByText(MIA.email).isVisible()).toBe(true);
    await mine.getByRole('link', { name: 'Sign in' }).click();
    await stage.signIn(mine, MIA);
    await mine.getByRole('menuitem', { name: 'Partners' }).waitFor();

    await mine.goto('about:blank');
    await mine.goto(link);
    await mine.getByLabel('New password').fill(MIA.password);
    await mine.getByLabel('Repeat the password').fill(MIA.password);
    await mine.getByRole('button', { name: 'Set password' }).click();
    await mine.getByRole('heading', { name: 'This link does not work' }).waitFor();

    const refusals = new Set<number>();
    for (let i = 0; i < 12; i++) {
      const answer = await fetch(`${stage.url}/admin/password-link/use`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ secret: randomBytes(32).toString('base64url'), newPassword: MIA.password }),
      });
      refusals.add(answer.status);
    }
    expect([...refusals]).toEqual([410, 429]);
    await mine.goto('about:blank');
    await mine.goto(link);
    await mine.getByLabel('New password').fill(MIA.password);
    await mine.getByLabel('Repeat the password').fill(MIA.password);
    await mine.getByRole('button', { name: 'Set password' }).click();
    await mine.getByText('There were too many attempts. Try again in a minute.').waitFor();
    await ofMia.close();
    await context.close();
    expect(stage.complaints).toEqual([]);
  });

  it('refuses a second rotation of a key except in an emergency, which the trail shows', async () => {
    const { context, page } = await stage.somebody();
    await stage.signIn(page, stage.admin);
    await page.getByRole('menuitem', { name: 'Signing keys' }).click();
    const dialog = page.getByRole('dialog', { name: 'Rotate the key of partner tokens?' });
    const rotate = async (emergency: boolean): Promise<void> => {
      await page
        .getByRole('button', { name: /^Rotate/ })
        .first()
        .click();
      if (emergency) await dialog.getByLabel(/^Emergency: rotate even if/).check();
      await dialog.getByRole('button', { name: 'Rotate' }).click();
    };
    await rotate(false);
    await dialog.waitFor({ state: 'detached' });
    await rotate(false);
    await dialog.getByText(/less than five minutes ago/).waitFor();
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    await dialog.waitFor({ state: 'detached' });
    await rotate(true);
    await dialog.waitFor({ state: 'detached' });

    await page.getByRole('menuitem', { name: 'Audit' }).click();
    const events = page.getByRole('cell', { name: 'Signing key being retired' });
    const drawer = page.getByRole('dialog', { name: 'Signing key being retired' });
    const emergency = drawer.getByRole('row', { name: 'emergency none true' });
    await events.first().click();
    await emergency.waitFor();
    await drawer.getByRole('button', { name: 'Close' }).click();
    await drawer.waitFor({ state: 'detached' });
    await events.nth(1).click();
    await drawer.getByRole('row', { name: 'state active retiring' }).waitFor();
    expect(await emergency.count()).toBe(0);
    await context.close();
    expect(stage.complaints).toEqual([]);
  });

  it('shows why, by whom and since when a partner is suspended, and its refusals by reason', async () => {
    const { context, page } = await stage.somebody();
    await stage.signIn(page, stage.admin);
    const headers = { origin: stage.url };
    const created = await page.request.post(`${stage.url}/admin/channel-users`, {
      headers,
      data: { username: 'night-desk', displayName: 'Night Desk', tokensPerMinute: 3 },
    });
    const body = (await created.json()) as { channelUser: { id: string }; credential: { password: string } };
    const { id } = body.channelUser;
    const password = secret(body.credential.password);
    const signIn = async (): Promise<number> => (await stage.generateToken('night-desk', password)).status;
    for (const status of [200, 200, 200, 429, 429]) expect(await signIn()).toBe(status);
    await page.request.post(`${stage.url}/admin/channel-users/${id}/suspend`, {
      headers,
      data: { reason: 'Invoice 4711 is unpaid' },
    });
    expect(await signIn()).toBe(403);

    await page.goto(`${stage.url}/console/channel-users/${id}/show?tab=activity`);
    await page.getByText(/^Suspended .* by Ada Admin: Invoice 4711 is unpaid$/).waitFor();
    await page.getByText(/The same 2 times before, since \d+ \w+ \d{4}, \d\d:\d\d:\d\d\./).waitFor();
    expect(await inspect(page, 'partner-suspended')).toEqual([]);
    await page.getByRole('button', { name: 'Show them' }).click();
    await page.getByLabel('Only refusals').click();
    await page.getByText('Got a token').waitFor({ state: 'detached' });
    await page.getByText('The partner is suspended').waitFor();

    await page.goto(`${stage.url}/console/`);
    await page.getByText(/3 refusals since .*: 2 × Requested more tokens .*, 1 × The partner is suspended\./).waitFor();
    await page.getByText('The partner is suspended now.').waitFor();
    await page.request.post(`${stage.url}/admin/channel-users/${id}/reactivate`, { headers, data: {} });
    // The numbers are kept for five seconds.
    await page.waitForTimeout(5_500);
    await page.reload();
    await page.getByText(/Reactivated .* The partner has not tried again since\./).waitFor();
    expect(await inspect(page, 'overview-failing')).toEqual([]);
    await context.close();
    expect(stage.complaints).toEqual([]);
  });

  it('shows that an import added a partner as suspended, and isolates names', async () => {
    const { context, page } = await stage.somebody();
    await stage.signIn(page, stage.admin);
    const imported = await page.request.post(`${stage.url}/admin/channel-users/import?id=${randomUUID()}`, {
      headers: { origin: stage.url, 'content-type': 'text/csv' },
      data: 'username,displayName,status\nasleep,ערוץ תכלת,suspended\n',
    });
    const { credentials } = (await imported.json()) as { credentials: { id: string; password: string }[] };
    const [{ id, password } = { id: '', password: '' }] = credentials;
    secret(password);
    await page.goto(`${stage.url}/console/channel-users/${id}/show`);
    await page.getByText('Suspended by the import that added it', { exact: true }).waitFor();
    await page.getByText(/Since \d+ \w+ \d{4}, \d\d:\d\d:\d\d\./).waitFor();
    await page.getByRole('heading').locator('bdi').getByText('ערוץ תכלת', { exact: true }).waitFor();
    await page.goto(`${stage.url}/console/audit-events`);
    await page.getByRole('row').locator('bdi').getByText('Ada Admin', { exact: true }).first().waitFor();
    await context.close();
  });

  it('links trail entries to their objects, shows recent days, exports a table and lists failed sign-ins', async () => {
    const { context, page } = await stage.somebody();
    await fetch(`${stage.url}/admin/session`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ email: stage.admin.email, password: 'guessed' }),
    });
    await stage.signIn(page, stage.admin);
    await page.getByRole('menuitem', { name: 'Audit' }).click();
    await page.getByRole('button', { name: 'Last 24 hours' }).click();
    await page.waitForURL(/from/);
    expect(await inspect(page, 'audit')).toEqual([]);
    const downloaded = page.waitForEvent('download');
    await page.getByRole('link', { name: 'Export CSV' }).click();
    expect((await downloaded).suggestedFilename()).toMatch(/^audit-events-.*\.csv$/);
    await page.getByRole('cell', { name: 'Partner suspended' }).click();
    await page.getByRole('link', { name: 'Everything about night-desk' }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.waitForURL(/target/);
    await page.getByRole('cell', { name: 'Partner suspended' }).click();
    const drawer = page.getByRole('dialog', { name: 'Partner suspended' });
    await drawer.getByRole('link', { name: 'night-desk', exact: true }).waitFor();
    expect(await inspect(page, 'audit-event')).toEqual([]);
    await drawer.getByRole('link', { name: 'night-desk', exact: true }).click();
    await page.getByRole('heading', { name: 'Night Desk', level: 1 }).waitFor();

    await page.getByRole('menuitem', { name: 'Staff' }).click();
    const guessed = page.getByRole('listitem').filter({ hasText: stage.admin.email });
    await guessed.getByText(/1 × wrong password within an hour, last .* from 127\.0\.0\.1/).waitFor();
    expect(await inspect(page, 'staff')).toEqual([]);
    await context.close();
    expect(stage.complaints).toEqual([]);
  });
});
