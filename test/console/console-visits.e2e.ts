import { networkInterfaces } from 'node:os';
import { chromiumPath, inspect } from '../support/browser.ts';
import { ConsoleStage } from '../support/console.ts';
import { secret } from '../support/secrets.ts';

/** The console as it is met elsewhere: with another role, on a phone, behind a proxy, over plain http. */
const executable = chromiumPath();
const browserStory = executable === undefined ? describe.skip : describe;
const PHONE = { width: 390, height: 844 };

/** An address of this machine that is not the loopback: browsers give it no secure context. */
const lanAddress = Object.values(networkInterfaces())
  .flatMap((each) => each ?? [])
  .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;

browserStory('visits to the console', () => {
  let stage: ConsoleStage;
  let admin: string;
  const findings: string[] = [];

  beforeAll(async () => {
    stage = await ConsoleStage.start(executable ?? '', { HOST: '0.0.0.0' });
    admin = await stage.tokenOf(stage.admin);
  });
  afterEach(() => stage.leaveOpenPages());
  afterAll(() => stage.close());

  const elsewhere = (url: string): string => url.replace('127.0.0.1', lanAddress ?? '127.0.0.1');

  it('show a viewer which pages are for others, and offer no forbidden action', async () => {
    const made = await stage.asStaff(admin, 'POST', '/admin/staff', {
      email: 'vic@latchkey.example',
      name: 'Vic Viewer',
      role: 'viewer',
    });
    const password = secret(((await made.json()) as { password: string }).password);
    const { context, page } = await stage.somebody();
    await stage.signIn(page, { email: 'vic@latchkey.example', password });
    await page.getByText('There are no partners yet.').waitFor();
    expect(await page.getByText('Add the first one').count()).toBe(0);
    for (const [path, words] of [
      ['staff', 'Admins manage the accounts of colleagues. Ask one of them.'],
      ['service-accounts', 'Admins manage the identities of scripts. Ask one of them.'],
      ['signing-keys', 'Admins see and rotate the signing keys. Ask one of them.'],
      ['import', 'Operators and admins import partners. Ask one of them.'],
      ['channel-users/create', 'Operators and admins add partners. Ask one of them.'],
    ] as const) {
      await page.goto(`${stage.url}/console/${path}`);
      await page.getByText(words).waitFor();
      expect(await page.getByRole('button', { name: /Add|Create/ }).count()).toBe(0);
    }
    findings.push(...(await inspect(page, 'page-for-others')));
    await page.goto(`${stage.url}/console/channel-users`);
    await page.getByText('No partners yet').waitFor();
    expect(await page.getByRole('link', { name: /Add partner|Import/ }).count()).toBe(0);
    await context.close();
  });

  it('show everything on a phone: seven tabs, words beside icons, hours and numbers at the chart', async () => {
    const created = await stage.asStaff(admin, 'POST', '/admin/channel-users', {
      username: 'phone-partner',
      displayName: 'שירות חדרים',
    });
    const { channelUser, credential } = (await created.json()) as {
      channelUser: { id: string };
      credential: { password: string };
    };
    secret(credential.password);
    await stage.generateToken('phone-partner', credential.password);
    const { context, page } = await stage.somebody();
    await page.setViewportSize(PHONE);
    await stage.signIn(page, stage.admin);
    const axis = page.locator('.MuiChartsAxis-tickLabel');
    await axis.first().waitFor();
    const labels = await axis.allTextContents();
    expect(labels.filter((label) => /^\d\d:00$/.test(label)).length).toBeGreaterThan(3);
    expect(labels.filter((label) => /^\d+$/.test(label)).length).toBeGreaterThan(1);
    expect(await page.getByRole('button', { name: 'Refresh' }).count()).toBe(1);
    expect(await page.getByRole('button', { name: 'Refresh' }).innerText()).toBe('Refresh');
    findings.push(...(await inspect(page, 'overview-phone')));

    await page.setViewportSize(PHONE);
    await page.goto(`${stage.url}/console/channel-users`);
    for (const name of ['Export CSV', 'Import', 'Add partner']) {
      expect((await page.getByRole('link', { name }).innerText()).trim()).toBe(name);
    }
    findings.push(...(await inspect(page, 'partners-phone')));

    await page.setViewportSize(PHONE);
    await page.goto(`${stage.url}/console/channel-users/${channelUser.id}/show`);
    await page.getByRole('tab').first().waitFor();
    for (const name of ['Account', 'Passwords', 'Grants', 'Sign-ins', 'Calls', 'Errors', 'History']) {
      const tab = page.getByRole('tab', { name });
      const { x = -1, width = 0 } = (await tab.boundingBox()) ?? {};
      expect([name, x >= 0, x + width <= PHONE.width]).toEqual([name, true, true]);
      await tab.click();
      expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
    }
    findings.push(...(await inspect(page, 'partner-phone')));
    await context.close();
  });

  it('name the number of partners that “all” means', async () => {
    for (let i = 0; i < 30; i++) {
      const json = { username: `bulk-${String(i)}`, displayName: `Bulk ${String(i)}` };
      const answer = await stage.asStaff(admin, 'POST', '/admin/channel-users', json);
      secret(((await answer.json()) as { credential: { password: string } }).credential.password);
    }
    const { context, page } = await stage.somebody();
    await stage.signIn(page, stage.admin);
    await page.goto(`${stage.url}/console/channel-users?perPage=25&page=1&sort=username&order=ASC`);
    await page.getByRole('row').nth(25).waitFor();
    await page.getByRole('checkbox').first().check();
    await page.getByRole('button', { name: 'Select all 31' }).click();
    await page.getByText('31 items selected').waitFor();
    await context.close();
  });

  it('accept what a password manager fills in silently', async () => {
    const { context, page } = await stage.somebody();
    await page.goto(`${stage.url}/console/`);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('Type your e-mail address.').waitFor();
    const { email, password } = stage.admin;
    await page.getByLabel('E-mail').evaluate((input, text) => Object.assign(input, { value: text }), email);
    await page.getByLabel('Password').evaluate((input, text) => Object.assign(input, { value: text }), password);
    await stage.pressSignIn(page);
    await page.getByRole('menuitem', { name: 'Overview' }).waitFor();
    await context.close();
  });

  it('sign in by themselves once a busy server has time to check the password', async () => {
    const { context, page } = await stage.somebody();
    let answers = 0;
    await page.route('**/admin/session', async (route) => {
      if (route.request().method() !== 'POST' || answers++ > 1) return route.continue();
      await route.fulfill({ status: 503, headers: { 'retry-after': '1' }, json: { code: 'server.unavailable' } });
    });
    await stage.signIn(page, stage.admin);
    await page.getByRole('menuitem', { name: 'Overview' }).waitFor();
    expect(answers).toBe(3);
    await context.close();
  });

  it('work behind a proxy with Basic authentication', async () => {
    const { context, page } = await stage.somebody();
    await context.setExtraHTTPHeaders({ authorization: 'Basic cHJveHk6cHJveHk=' });
    await stage.signIn(page, stage.admin);
    await page.getByRole('menuitem', { name: 'Settings' }).click();
    await page.getByText('Second factor for all staff').waitFor();
    await context.close();
  });

  const onLan = lanAddress === undefined ? it.skip : it;

  onLan('copy and create over plain http, where browsers lack the clipboard interface', async () => {
    const { context, page } = await stage.somebody();
    await stage.signIn(page, stage.admin, elsewhere(stage.url));
    await page.getByRole('menuitem', { name: 'Partners' }).click();
    expect(await page.evaluate('isSecureContext')).toBe(false);
    await page.getByRole('link', { name: 'Add partner' }).click();
    await page.getByLabel('Display name').fill('Plain Http');
    await page.getByRole('radio', { name: /Show it to me now/ }).check();
    await page.getByRole('button', { name: 'Add partner' }).click();
    const password = secret(await page.getByLabel('Password', { exact: true }).inputValue());
    await page.getByRole('button', { name: 'Copy password' }).click();
    await page.getByText('Password copied').waitFor();
    await page.getByRole('button', { name: 'I have saved it' }).click();
    await page.getByRole('button', { name: 'Suspend' }).click();
    await page.getByLabel('Reason').press('Control+V');
    expect(await page.getByLabel('Reason').inputValue()).toBe(password);
    await page.getByRole('button', { name: 'Cancel' }).click();
    await context.close();
  });

  onLan('say why no sign-in can work over http when the public URL is https', async () => {
    const secure = await ConsoleStage.start(executable ?? '', {
      HOST: '0.0.0.0',
      PUBLIC_URL: 'https://latchkey.example',
    });
    try {
      const { context, page } = await secure.somebody();
      await secure.signIn(page, secure.admin, elsewhere(secure.url));
      await page.getByText('You cannot sign in at this address.').waitFor();
      await page.getByText('the browser did not keep the session cookie').waitFor();
      await page.getByText('https://latchkey.example').first().waitFor();
      findings.push(...(await inspect(page, 'sign-in-insecure')));
      await context.close();
      expect(secure.complaints).toEqual([]);
    } finally {
      await secure.close();
    }
  });

  it('pass axe and cause no complaint of the browser', () => {
    expect(findings).toEqual([]);
    expect(stage.complaints).toEqual([]);
  });
});
