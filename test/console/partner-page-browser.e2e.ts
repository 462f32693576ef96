import { createHash } from 'node:crypto';
import type { BrowserContext, Locator, Page } from 'playwright-core';
import { chromiumPath, inspect } from '../support/browser.ts';
import { ConsoleStage } from '../support/console.ts';
import { secret } from '../support/secrets.ts';

/** The page where a partner sees its own account, in a real browser. */
const executable = chromiumPath();
if (executable === undefined) process.stderr.write('partner-page: skipped, there is no Chromium\n');
const story = executable === undefined ? describe.skip : describe;

interface Made {
  readonly id: string;
  readonly username: string;
  readonly displayName: string;
  readonly password: string;
}

const fingerprintOf = (password: string): string => createHash('sha256').update(password).digest('hex').slice(0, 8);

/** The text of an element, with the moment of each time in place of its words, which depend on when one looks. */
const textsOf = (all: Locator): Promise<string[]> =>
  all.evaluateAll((elements) =>
    elements.map((element) => {
      const copy = element.cloneNode(true) as HTMLElement;
      copy.querySelectorAll('.unseen, button:not(.link)').forEach((each) => {
        each.remove();
      });
      copy.querySelectorAll('time').forEach((time) => {
        time.textContent = time.dateTime;
      });
      return copy.textContent.trim();
    }),
  );

story("the partner's page", () => {
  let stage: ConsoleStage;
  let token: string;
  const findings: string[] = [];

  beforeAll(async () => {
    stage = await ConsoleStage.start(executable ?? '');
    token = await stage.tokenOf(stage.admin);
  });
  afterEach(() => stage.leaveOpenPages());
  afterAll(() => stage.close());

  const look = async (page: Page, name: string): Promise<void> => {
    findings.push(...(await inspect(page, `partner-page-${name}`)));
  };
  const staff = async (method: string, path: string, json?: object): Promise<Response> => {
    const answer = await stage.asStaff(token, method, `/admin/channel-users${path}`, json);
    expect([method, path, answer.ok]).toEqual([method, path, true]);
    return answer;
  };
  const provision = async (displayName: string, fields: object = {}): Promise<Made> => {
    const username = displayName.toLowerCase().replaceAll(/[^a-z]+/g, '-');
    const answer = await staff('POST', '', { username, displayName, ...fields });
    const body = (await answer.json()) as { channelUser: { id: string }; credential: { password: string } };
    return { id: body.channelUser.id, username, displayName, password: secret(body.credential.password) };
  };
  const tokenOf = async ({ username, password }: Made): Promise<string> =>
    (await stage.generateToken(username, password)).text;
  const fillIn = async (page: Page, { username, password }: Pick<Made, 'username' | 'password'>): Promise<void> => {
    await page.getByLabel('Username').fill(username);
    await page.getByLabel('Password', { exact: true }).fill(password);
    await page.getByRole('button', { name: 'Sign in' }).click();
  };
  const signIn = async (partner: Made, url = stage.url): Promise<{ context: BrowserContext; page: Page }> => {
    const somebody = await stage.somebody();
    await somebody.page.goto(`${url}/partner`);
    await fillIn(somebody.page, partner);
    await somebody.page.getByRole('heading', { name: partner.displayName }).waitFor();
    return somebody;
  };

  it('says what a refused sign-in means and what to do', async () => {
    const partner = await provision('Refused Channel', { allowedIps: ['203.0.113.0/24'] });
    const { context, page } = await stage.somebody();
    await page.goto(`${stage.url}/partner`);
    await page.getByRole('heading', { name: 'Your account' }).waitFor();
    await look(page, 'sign-in');
    const problem = page.getByRole('alert');
    // The right password from an address outside the list looks like a wrong one.
    for (const password of ['wrong', partner.password]) {
      await fillIn(page, { ...partner, password });
      await problem.getByText('Wrong username or password, or this address is not on your list.').waitFor();
      await problem.getByText('Try from your server’s network, or ask your contact.').waitFor();
    }
    await look(page, 'refused');
    await staff('PATCH', `/${partner.id}`, { allowedIps: [] });
    await staff('POST', `/${partner.id}/suspend`, { reason: 'Test' });
    await fillIn(page, partner);
    await problem.getByText('The password is right, but the account is suspended.').waitFor();
    for (const [status, text] of [
      [429, 'There were too many attempts. Try again in 1 minute 30 seconds.'],
      [503, 'The service cannot answer right now. Try again in 1 minute 30 seconds. This says nothing about'],
    ] as const) {
      await page.route('**/generateToken', (route) => route.fulfill({ status, headers: { 'retry-after': '90' } }), {
        times: 1,
      });
      await fillIn(page, partner);
      await problem.getByText(text).waitFor();
    }
    await page.route('**/generateToken', (route) => route.abort(), { times: 1 });
    await fillIn(page, partner);
    await problem.getByText('There was no response.').waitFor();
    await context.close();
  });

  it('keeps the token and the password out of the address, the storage and the document', async () => {
    const partner = await provision('Quiet Channel');
    const { context, page } = await stage.somebody();
    const urls: string[] = [];
    page.on('request', (request) => urls.push(request.url()));
    await page.goto(`${stage.url}/partner`);
    const answered = page.waitForResponse('**/generateToken');
    await fillIn(page, partner);
    const { access_token } = (await (await answered).json()) as { access_token: string };
    await page.getByRole('heading', { name: partner.displayName }).waitFor();
    const left = await page.evaluate(async () => [
      document.documentElement.outerHTML,
      [...document.querySelectorAll('input')].map(({ value }) => value).join(),
      location.href,
      JSON.stringify(history.state),
      document.cookie,
      JSON.stringify({ ...localStorage, ...sessionStorage }),
      String((await indexedDB.databases()).length + (await caches.keys()).length),
    ]);
    for (const text of [...left, ...urls]) {
      expect(text).not.toContain(secret(access_token));
      expect(text).not.toContain(partner.password);
    }
    expect(left.at(-1)).toBe('0');
    expect(await context.cookies()).toEqual([]);
    await context.close();
  });

  it('is signed out by a reload, by leaving it and by the button, and shows nothing afterwards', async () => {
    const partner = await provision('Shared Browser Channel');
    const { context, page } = await signIn(partner);
    const expectSignedOut = async (): Promise<void> => {
      await page.getByRole('button', { name: 'Sign in' }).waitFor();
      expect(await page.getByText(partner.displayName).count()).toBe(0);
      expect(await page.getByText(fingerprintOf(partner.password)).count()).toBe(0);
      expect(await page.getByLabel('Username').inputValue()).toBe('');
    };
    await page.reload();
    await expectSignedOut();
    await fillIn(page, partner);
    await page.getByText(fingerprintOf(partner.password)).waitFor();
    await page.goto(`${stage.url}/handover`);
    await page.goBack();
    await expectSignedOut();
    await page.goForward();
    await page.goBack();
    await expectSignedOut();
    // A browser may keep the page as it is for "back", instead of loading it again.
    await fillIn(page, partner);
    await page.getByText(fingerprintOf(partner.password)).waitFor();
    await page.evaluate(() => dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true })));
    await expectSignedOut();
    await fillIn(page, partner);
    await page.getByText(fingerprintOf(partner.password)).waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await expectSignedOut();
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Your account');
    await context.close();
  });

  it('asks for the password again when the token ends or nobody uses the page, and loses nothing typed', async () => {
    const partner = await provision('Slow Channel');
    const somebody = await stage.somebody();
    const { context, page } = somebody;
    await page.clock.install();
    await page.goto(`${stage.url}/partner`);
    await fillIn(page, partner);
    await page.getByRole('button', { name: 'New password' }).click();
    const dialog = page.getByRole('dialog', { name: 'New password' });
    await dialog.getByLabel('Name of the new password').fill('nightly export');
    const lock = page.getByRole('dialog', { name: 'Sign in again' });
    // Nobody touches the page for half an hour.
    await page.clock.fastForward('31:00');
    await lock.waitFor();
    await look(page, 'asks-again');
    await lock.getByLabel('Password').fill('wrong');
    await lock.getByRole('button', { name: 'Sign in' }).click();
    await lock.getByRole('alert').getByText('Wrong username or password').waitFor();
    await page.keyboard.press('Escape');
    await page.keyboard.press('Escape');
    await lock.getByLabel('Password').fill(partner.password);
    await lock.getByRole('button', { name: 'Sign in' }).click();
    await lock.waitFor({ state: 'detached' });
    expect(await dialog.getByLabel('Name of the new password').inputValue()).toBe('nightly export');

    // The token ends while the page is used.
    for (const _ of [1, 2, 3]) {
      await page.clock.fastForward('20:00');
      await page.keyboard.press('Shift');
    }
    await lock.waitFor();
    await lock.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
    expect(await page.getByRole('dialog').count()).toBe(0);
    await context.close();
  });

  it('repeats what was asked once somebody has signed in again after a refused token', async () => {
    const partner = await provision('Revoked Channel');
    const { context, page } = await signIn(partner);
    await staff('POST', `/${partner.id}/revoke-tokens`, { reason: 'Test' });
    await page.getByRole('tab', { name: 'Sign-ins' }).click();
    const lock = page.getByRole('dialog', { name: 'Sign in again' });
    await lock.getByLabel('Password').fill(partner.password);
    await lock.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'Signed in on the partner’s page' }).first().waitFor();
    await context.close();
  });

  it('shows texts as texts', async () => {
    const displayName = '<img src=x onerror=alert(1)>';
    const partner = await provision(displayName, { username: 'markup' });
    await staff('POST', `/${partner.id}/credentials`, { label: '<b>bold</b>', retireOthersInSeconds: null });
    const { context, page } = await signIn({ ...partner, username: 'markup' });
    await page.getByRole('heading', { name: '<b>bold</b>' }).waitFor();
    expect(await page.locator('#account img, #account b').count()).toBe(0);
    await context.close();
  });

  it('says which password somebody holds, without https and without sending it', async () => {
    const partner = await provision('Two Passwords Channel');
    const made = await staff('POST', `/${partner.id}/credentials`, { label: 'second', retireOthersInSeconds: null });
    const second = secret(((await made.json()) as { credential: { password: string } }).credential.password);
    const url = stage.url.replace('127.0.0.1', 'latchkey.lan');
    const { context, page } = await signIn(partner, url);
    expect(await page.evaluate(() => isSecureContext)).toBe(false);
    const bodies: (string | null)[] = [];
    page.on('request', (request) => bodies.push(request.postData()));
    const form = page.getByRole('heading', { name: 'Which one do I hold?' }).locator('..');
    const check = async (password: string): Promise<Locator> => {
      await form.getByLabel('Password').fill(password);
      await form.getByRole('button', { name: 'Check' }).click();
      return form.getByRole('status');
    };
    await (await check(second)).getByText(`This is “second”, fingerprint ${fingerprintOf(second)}: Works.`).waitFor();
    await (await check(`${second} `)).getByText('This would be “second”, but it has a space').waitFor();
    await (
      await check('some other text')
    )
      .getByText(`None of your passwords has the fingerprint ${fingerprintOf('some other text')}.`)
      .waitFor();
    await look(page, 'which-one');
    expect(bodies.join()).not.toContain(second);
    await context.close();
  });

  it('has the same rows in the same order and words as the console', async () => {
    const partner = await provision('Same Words Channel');
    const old = await tokenOf(partner);
    await stage.generateToken(partner.username, 'wrong');
    await stage.generateToken(partner.username, 'wrong');
    for (const path of ['/me', '/me/usage?hours=0', '/me/requests/none', '/me/activity?limit=0']) {
      await fetch(stage.url + path, { headers: { authorization: `Bearer ${old}` } });
    }
    const link = await staff('POST', `/${partner.id}/credentials`, { label: 'next', deliver: 'link' });
    const { handoverUrl } = (await link.json()) as { handoverUrl: string };
    await fetch(`${stage.url}/handover/reveal`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ secret: secret(handoverUrl.split('#')[1] ?? '') }),
    });

    const { context, page } = await signIn(partner);
    const colleague = await stage.somebody();
    await stage.signIn(colleague.page, stage.admin);
    await colleague.page.getByRole('menuitem', { name: 'Overview' }).waitFor();
    const inConsole = async (tab: string): Promise<Locator> => {
      await colleague.page.goto(`${stage.url}/console/channel-users/${partner.id}/show?tab=${tab}`);
      return colleague.page.getByRole('tabpanel');
    };

    const [own, theirs] = [page.getByLabel('Rotation'), (await inConsole('credentials')).getByLabel('Rotation')];
    await theirs.getByText(/New password: opened .+, not used yet\./).waitFor();
    await own.getByText(/New password: opened .+, not used yet\./).waitFor();
    const title = await textsOf(theirs.locator('.MuiAlertTitle-root'));
    const lines = await textsOf(theirs.locator('p'));
    const ownLines = await textsOf(own.locator('p'));
    expect(await textsOf(own.getByRole('heading'))).toEqual(title);
    // The last line names who created it: a person in the console, staff on the page.
    expect(ownLines.slice(0, lines.length - 1)).toEqual(lines.slice(0, -1));
    expect(lines.at(-1)).toMatch(/^Created .* by Ada Admin\.$/);
    expect(ownLines.slice(lines.length - 1)).toEqual([
      lines.at(-1)?.replace('Ada Admin', 'staff'),
      'Only your contact can withdraw it.',
    ]);
    const cards = colleague.page.getByRole('region', { name: 'Passwords' }).locator('li');
    expect(await textsOf(page.locator('.cards h3'))).toEqual(await textsOf(cards.locator('h3')));
    expect(await textsOf(page.locator('.cards .chip'))).toEqual(await textsOf(cards.locator('.MuiChip-label')));
    expect(await textsOf(page.locator('.cards p.quiet'))).toEqual(
      await textsOf(cards.locator('p.MuiTypography-body2:nth-of-type(2)')),
    );
    await look(page, 'overview');

    const compare = async (tab: string, name: string): Promise<void> => {
      const panel = await inConsole(tab);
      await panel.getByRole('listitem').first().waitFor();
      await page.getByRole('tab', { name }).click();
      const list = page.getByRole('tabpanel', { name });
      await list.getByRole('listitem').first().waitFor();
      const titles = await textsOf(list.getByRole('heading', { level: 3 }));
      expect(titles.length).toBeGreaterThan(2);
      expect(titles).toEqual(await textsOf(panel.getByRole('heading', { level: 3 })));
      await look(page, name.toLowerCase());
    };
    await compare('activity', 'Sign-ins');
    await compare('errors', 'Errors');
    await page.getByRole('tab', { name: 'Calls' }).click();
    await page.getByRole('table', { name: 'By route' }).getByText('GET /me/activity').waitFor();
    await look(page, 'calls');
    const panel = await inConsole('calls');
    const table = panel.getByRole('table', { name: 'By route' });
    await table.getByText('GET /me/usage').waitFor();
    await page.getByRole('tab', { name: 'Calls' }).click();
    const routes = page.getByRole('table', { name: 'By route' });
    await routes.getByText('GET /me/usage').waitFor();
    expect(await textsOf(routes.locator('th'))).toEqual(await textsOf(table.locator('th')));
    const hours = (within: Page | Locator): Locator =>
      within.getByRole('table', { name: 'By hour' }).locator('tr:not([hidden]) > th');
    expect(await textsOf(hours(page))).toEqual(await textsOf(hours(panel)));
    await colleague.context.close();
    await context.close();
  });

  it('looks a request up by its id, from a list too', async () => {
    const partner = await provision('Curious Channel');
    const answer = await fetch(`${stage.url}/me?x=1`, {
      headers: { authorization: `Bearer ${await tokenOf(partner)}` },
    });
    const refused = await fetch(`${stage.url}/me/usage?hours=0`, {
      headers: { authorization: `Bearer ${await tokenOf(partner)}` },
    });
    expect([answer.status, refused.status]).toEqual([200, 400]);
    const { context, page } = await signIn(partner);
    const search = page.getByRole('search');
    const lookUp = async (text: string): Promise<void> => {
      await search.getByLabel('Request id').fill(text);
      await page.keyboard.press('Enter');
    };
    await lookUp('not an id');
    await search.getByText('This is not a request id.').waitFor();
    await lookUp(`X-Request-Id: ${(refused.headers.get('x-request-id') ?? '').toUpperCase()}`);
    const found = page.getByRole('region', { name: 'Request' });
    await found.getByText('GET /me/usage').waitFor();
    await found.getByText('The request was not valid.').waitFor();
    await look(page, 'look-up');
    await lookUp(answer.headers.get('x-request-id') ?? '');
    await found.getByText(/Successful calls are only counted/).waitFor();
    await found.getByRole('button', { name: 'Close' }).click();
    await found.waitFor({ state: 'hidden' });
    await page.getByRole('tab', { name: 'Errors' }).click();
    await page
      .getByRole('tabpanel', { name: 'Errors' })
      .getByRole('button', { name: refused.headers.get('x-request-id') ?? '' })
      .click();
    await found.getByText('GET /me/usage').waitFor();
    await context.close();
  });

  it('is used with the keyboard alone', async () => {
    const partner = await provision('Keyboard Channel');
    const { context, page } = await stage.somebody();
    await page.goto(`${stage.url}/partner`);
    await page.getByRole('heading', { name: 'Your account' }).waitFor();
    const focused = (): Promise<string> =>
      page.evaluate(
        () => document.activeElement?.getAttribute('aria-selected') ?? document.activeElement?.textContent ?? '',
      );
    await page.keyboard.press('Tab');
    await page.keyboard.type(partner.username);
    await page.keyboard.press('Tab');
    await page.keyboard.type(partner.password);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: partner.displayName }).waitFor();
    expect(await focused()).toBe(partner.displayName);
    await page.getByRole('tab', { name: 'Passwords' }).focus();
    for (const [key, tab] of [
      ['ArrowRight', 'Sign-ins'],
      ['End', 'Errors'],
      ['ArrowRight', 'Passwords'],
      ['ArrowLeft', 'Errors'],
      ['Home', 'Passwords'],
    ] as const) {
      await page.keyboard.press(key);
      await page.getByRole('tabpanel', { name: tab }).waitFor();
      expect([key, await focused()]).toEqual([key, 'true']);
    }
    await page.getByRole('button', { name: 'My password leaked' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('dialog', { name: 'My password leaked' }).waitFor();
    await page.keyboard.press('Escape');
    expect(await focused()).toBe('My password leaked');
    await context.close();
  });

  it('says what failed and tries again, and keeps what was shown', async () => {
    const partner = await provision('Unlucky Channel');
    const { context, page } = await signIn(partner);
    await page.route('**/me/activity*', (route) => route.fulfill({ status: 503, headers: { 'retry-after': '2' } }), {
      times: 1,
    });
    await page.getByRole('tab', { name: 'Sign-ins' }).click();
    await page
      .getByText('Could not load the sign-ins. The service cannot answer right now. Try again in 2 seconds.')
      .waitFor();
    await look(page, 'failure');
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.getByRole('heading', { name: 'Signed in on the partner’s page' }).waitFor();
    await page.route('**/me/activity*', (route) => route.abort(), { times: 1 });
    await page.getByLabel('Only refusals').check();
    await page
      .getByText('Could not refresh the sign-ins; showing the last known state. There was no response.')
      .waitFor();
    expect(await page.getByRole('heading', { name: 'Signed in on the partner’s page' }).count()).toBe(1);
    await context.close();
  });

  it('ends a leaked password without a sign-in', async () => {
    const partner = await provision('Leaked Channel', { allowedIps: ['203.0.113.0/24'] });
    const { context, page } = await stage.somebody();
    await page.goto(`${stage.url}/partner`);
    await page.getByRole('button', { name: 'My password leaked' }).click();
    const dialog = page.getByRole('dialog', { name: 'My password leaked' });
    await dialog.getByText('Systems that use them stop working').waitFor();
    await dialog.getByLabel('Username').fill(partner.username);
    await dialog.getByLabel('The password that leaked').fill(partner.password);
    await look(page, 'leaked');
    await dialog.getByRole('button', { name: 'End this password' }).click();
    await dialog.getByText('Reported.').waitFor();
    await look(page, 'reported');
    await dialog.getByRole('button', { name: 'Close' }).click();
    const { items } = (await (await staff('GET', `/${partner.id}/credentials`)).json()) as {
      items: { status: string }[];
    };
    expect(items.map(({ status }) => status)).toEqual(['revoked']);
    await context.close();
  });

  it('asks for another password after the one that somebody signed in with was reported', async () => {
    const partner = await provision('Own Leak Channel');
    const made = await staff('POST', `/${partner.id}/credentials`, { label: 'other', retireOthersInSeconds: null });
    const other = secret(((await made.json()) as { credential: { password: string } }).credential.password);
    const { context, page } = await signIn(partner);
    await page.getByRole('button', { name: 'My password leaked' }).click();
    const dialog = page.getByRole('dialog', { name: 'My password leaked' });
    await dialog.getByLabel('The password that leaked').fill(partner.password);
    await dialog.getByRole('button', { name: 'End this password' }).click();
    await dialog.getByRole('button', { name: 'Close' }).click();
    const lock = page.getByRole('dialog', { name: 'Sign in again' });
    await lock.getByLabel('Password').fill(other);
    await lock.getByRole('button', { name: 'Sign in' }).click();
    await page.getByLabel('Show expired and revoked ones (1)').check();
    await page.getByText('reported as leaked').waitFor();
    await look(page, 'after-report');
    await context.close();
  });

  it('offers no rotation to a partner that may not rotate by itself', async () => {
    const partner = await provision('Guided Channel', { selfService: false });
    const { context, page } = await signIn(partner);
    await page.getByText('For a new password, ask your contact').waitFor();
    expect(await page.getByRole('button', { name: 'New password' }).count()).toBe(0);
    expect(await page.getByText('Rotate from a shell').count()).toBe(0);
    await context.close();
  });

  it('says when the account expires, and nothing of the notes of staff', async () => {
    const fields = { expiresAt: '2099-12-31T12:00:00Z', notes: 'Pays late' };
    const partner = await provision('Noted Channel', fields);
    const { context, page } = await signIn(partner);
    await page.getByText('31 Dec 2099').waitFor();
    for (const name of ['Sign-ins', 'Calls', 'Errors', 'Passwords']) {
      await page.getByRole('tab', { name }).click();
      expect(await page.locator('body').innerText()).not.toContain(fields.notes);
    }
    expect((await (await staff('GET', `/${partner.id}`)).json()) as object).toMatchObject({ notes: fields.notes });
    await context.close();
  });

  it('shows older entries on demand', async () => {
    const partner = await provision('Busy Channel');
    const token = await tokenOf(partner);
    const calls = Array.from({ length: 28 }, () =>
      fetch(`${stage.url}/me/usage?hours=0`, { headers: { authorization: `Bearer ${token}` } }),
    );
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(calls.map(() => 400));
    const { context, page } = await signIn(partner);
    await page.getByRole('tab', { name: 'Errors' }).click();
    const entries = page.getByRole('tabpanel', { name: 'Errors' }).getByRole('listitem');
    await page.getByRole('button', { name: 'Show older' }).waitFor();
    expect(await entries.count()).toBe(25);
    await page.getByRole('button', { name: 'Show older' }).click();
    await page.getByText('There are no older entries.').waitFor();
    expect(await entries.count()).toBe(28);
    expect(
      await entries
        .nth(25)
        .getByRole('heading')
        .evaluate((heading) => heading === document.activeElement),
    ).toBe(true);
    await context.close();
  });

  it('is accessible in both themes, on a desktop and on a phone, and without errors of the browser', () => {
    expect({ findings, complaints: stage.complaints }).toEqual({ findings: [], complaints: [] });
  });
});
