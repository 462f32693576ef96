import { randomUUID } from 'node:crypto';
import type { Locator, Page } from 'playwright-core';
import { chromiumPath, inspect } from '../support/browser.ts';
import { ConsoleStage } from '../support/console.ts';
import { onDatabase } from '../support/database.ts';
import { secret } from '../support/secrets.ts';
import { eventually } from '../support/sign-ins.ts';

/** A partner's calls in the console, and the look-up of a request. */
const executable = chromiumPath();
if (executable === undefined) process.stderr.write('console-calls: skipped, there is no Chromium\n');
const story = executable === undefined ? describe.skip : describe;

const PHONE = { width: 360, height: 740 };
const HOUR_MS = 3_600_000;
const UNKNOWN = '3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11';

interface Partner {
  readonly id: string;
  readonly token: string;
  readonly password: string;
}

type CountRow = readonly [hoursAgo: number, call: string, digit: number, calls: number];
type ErrorRow = readonly [call: string, status: number, code: string, count: number];

story('the calls of a partner in the console', () => {
  const viewer = { email: 'vera@latchkey.example', password: '' };
  let stage: ConsoleStage;
  let admin: string;
  const findings: string[] = [];

  beforeAll(async () => {
    stage = await ConsoleStage.start(executable ?? '');
    admin = await stage.tokenOf(stage.admin);
    const fields = { email: viewer.email, name: 'Vera Viewer', role: 'viewer' };
    const created = await stage.asStaff(admin, 'POST', '/admin/staff', fields);
    viewer.password = secret(((await created.json()) as { password: string }).password);
  });
  afterEach(() => stage.leaveOpenPages());
  afterAll(() => stage.close());

  const look = async (page: Page, name: string): Promise<void> => {
    findings.push(...(await inspect(page, name)));
  };
  const provision = async (displayName: string): Promise<Partner> => {
    const username = displayName.toLowerCase().replaceAll(' ', '-');
    const answer = await stage.asStaff(admin, 'POST', '/admin/channel-users', { username, displayName });
    const made = (await answer.json()) as { channelUser: { id: string }; credential: { password: string } };
    const { text } = await stage.generateToken(username, secret(made.credential.password));
    return { id: made.channelUser.id, token: text, password: made.credential.password };
  };
  /** Calls with a partner's token. @returns the request id */
  const call = async ({ token }: Partner, path: string, status: number): Promise<string> => {
    const answer = await stage.asStaff(token, 'GET', path);
    expect([path, answer.status]).toEqual([path, status]);
    return answer.headers.get('x-request-id') ?? '';
  };
  /** A call is recorded when its answer has been sent, which may be after the client has it. */
  const recorded = (id: string): Promise<unknown> =>
    eventually(
      async () => ((await stage.asStaff(admin, 'GET', `/admin/requests/${id}`)).status === 200 ? id : undefined),
      'the request is recorded',
    );
  const somebody = async (viewport?: { width: number; height: number }): Promise<Page> => {
    const { page } = await stage.somebody();
    if (viewport) await page.setViewportSize(viewport);
    await stage.signIn(page, viewer);
    await page.getByRole('heading', { name: /in the last 24 hours/ }).waitFor();
    return page;
  };
  const open = (page: Page, { id }: Partner, tab: string): Promise<unknown> =>
    page.goto(`${stage.url}/console/channel-users/${id}/show?tab=${tab}`);
  const rowsOf = async (table: Locator): Promise<string[][]> => {
    await table.waitFor();
    const rows = await table.getByRole('row').all();
    return Promise.all(rows.map((row) => row.locator('th, td').allInnerTexts()));
  };
  const field = (page: Page): Locator => page.getByRole('searchbox', { name: 'Request id' });
  const overflows = (page: Page): Promise<boolean> =>
    page.evaluate<boolean>('document.documentElement.scrollWidth > innerWidth');
  const focused = (page: Page): Promise<string | null> =>
    page.evaluate<string | null>("document.activeElement.getAttribute('aria-label')");
  const facts = async (page: Page): Promise<Record<string, string>> => {
    await page.locator('main dl').waitFor();
    const [terms, values] = await Promise.all(
      ['dt', 'dd'].map((tag) => page.locator(`main dl ${tag}`).allInnerTexts()),
    );
    return Object.fromEntries((terms ?? []).map((term, i) => [term, values?.[i] ?? '']));
  };

  /** Writes counts as instances do, of the routes of modules. */
  const writeCounts = ({ id }: Partner, counts: readonly CountRow[]) =>
    onDatabase(stage.databaseUrl, async (client) => {
      const now = Math.floor(Date.now() / HOUR_MS) * HOUR_MS;
      for (const [hoursAgo, call, digit, calls] of counts) {
        const [method, route] = call.split(' ');
        await client.query(
          `INSERT INTO call_count (channel_user_id, hour, method, route, status_class, writer, calls)
           VALUES ($1, $2, $3, $4, $5, $6, $7)`,
          [id, new Date(now - hoursAgo * HOUR_MS), method, route, digit, randomUUID(), calls],
        );
      }
    });
  /** Writes errors as instances do, one a minute, the last one now. */
  const writeErrors = ({ id }: Partner, errors: readonly ErrorRow[]) =>
    onDatabase(stage.databaseUrl, async (client) => {
      for (const [i, [call, status, code, count]] of errors.entries()) {
        const [method, route] = call.split(' ');
        const at = new Date(Date.now() - (errors.length - 1 - i) * 60_000);
        await client.query(
          `INSERT INTO call_error (id, channel_user_id, at, method, route, status, code, reason, request_id, count)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9)`,
          [randomUUID(), id, at, method, route, status, code, randomUUID(), count],
        );
      }
    });

  it('are counted by route and by hour, for the period that staff choose', async () => {
    const blue = await provision('Blue Channel');
    await call(blue, '/me', 200);
    await recorded(await call(blue, '/me/usage?hours=0', 400));
    await writeCounts(blue, [
      [1, 'PUT /properties/:propertyId/calendar', 2, 1_234],
      [1, 'PUT /properties/:propertyId/calendar', 4, 7],
      [1, 'GET /properties', 2, 12],
      [2, 'PUT /properties/:propertyId/calendar', 5, 3],
      [100, 'GET /properties', 2, 500],
    ]);
    const page = await somebody();
    await open(page, blue, 'calls');
    const byRoute = page.getByRole('table', { name: 'By route' });
    const byHour = page.getByRole('table', { name: 'By hour' });
    expect(await rowsOf(byRoute)).toEqual([
      ['Route', '2xx', '4xx', '5xx', 'All'],
      ['GET /me', '1', '0', '0', '1'],
      ['GET /me/usage', '0', '1', '0', '1'],
      ['GET /properties', '12', '0', '0', '12'],
      ['PUT /properties/:propertyId/calendar', '1,234', '7', '3', '1,244'],
      ['All', '1,247', '8', '3', '1,258'],
    ]);
    // Without the rows of days, of which there may be two.
    const hours = async (): Promise<string[][]> => (await rowsOf(byHour)).slice(1).filter(({ length }) => length > 1);
    expect((await hours()).map((row) => row.slice(1))).toEqual([
      ['1', '1', '0', '2'],
      ['1,246', '7', '0', '1,253'],
      ['0', '0', '3', '3'],
    ]);
    await byHour
      .getByRole('button', { name: /^Routes of \d\d:00 \w+day,? \d+ \w+ \d{4}$/ })
      .nth(1)
      .click();
    expect((await hours()).slice(2, 4)).toEqual([
      ['GET /properties', '12', '0', '0', '12'],
      ['PUT /properties/:propertyId/calendar', '1,234', '7', '0', '1,241'],
    ]);
    await look(page, 'calls');
    await page.getByRole('combobox', { name: 'Period' }).click();
    await page.getByRole('option', { name: 'The last 7 days' }).click();
    await byRoute.getByRole('cell', { name: '1,758' }).waitFor();
    await page.getByRole('combobox', { name: 'Period' }).click();
    await page.getByRole('option', { name: 'This hour' }).click();
    await byRoute.getByRole('row', { name: 'All 1 1 2' }).waitFor();
    await page.context().close();
  });

  it('that were refused or failed are listed as the partner itself reads them', async () => {
    const green = await provision('Green Channel');
    const ids = [await call(green, '/me/usage?hours=0', 400), await call(green, '/admin/overview', 403)];
    for (const id of ids) await recorded(id);
    interface Listed {
      items: { reason: string; hint: string; requestId: string }[];
    }
    const own = (await (await stage.asStaff(green.token, 'GET', '/me/errors')).json()) as Listed;
    const page = await somebody();
    await open(page, green, 'errors');
    const entries = page.getByRole('tabpanel').getByRole('listitem');
    await entries.nth(1).waitFor();
    expect(await entries.getByRole('heading').allInnerTexts()).toEqual(own.items.map(({ reason }) => reason));
    for (const [i, { hint, requestId }] of own.items.entries()) {
      await entries.nth(i).getByText(hint, { exact: true }).waitFor();
      await entries.nth(i).getByRole('link', { name: requestId, exact: true }).waitFor();
    }
    await entries.nth(0).getByText('GET /admin/overview · 403 Forbidden, auth.wrong-plane').waitFor();

    const stale: ErrorRow = ['PUT /properties/:propertyId/calendar', 409, 'calendar.stale', 1];
    await writeErrors(green, [
      ...Array<ErrorRow>(24).fill(stale),
      ['GET /properties/:propertyId', 404, 'resource.not-found', 1],
      ['GET /properties', 500, 'server.error', 25],
      ['PUT /properties/:propertyId/calendar', 503, 'service.unavailable', 1],
    ]);
    await page.getByRole('button', { name: 'Refresh' }).click();
    await page.getByText('The server failed. (25 times within a minute)').waitFor();
    // The advice stands once for equal errors in a row.
    expect(await page.getByText('Read the resource, then decide whether').count()).toBe(1);
    await look(page, 'errors');
    await page.getByRole('button', { name: 'Show older' }).click();
    await page.getByText('There are no older entries.').waitFor();
    expect(await entries.count()).toBe(29);
    await page.context().close();
  });

  it('say that there are none yet, and why they cannot be shown', async () => {
    const quiet = await provision('Quiet Channel');
    const page = await somebody();
    await open(page, quiet, 'calls');
    await page.getByText(/This partner has made no calls since/).waitFor();
    await look(page, 'calls-none');
    await open(page, quiet, 'errors');
    await page.getByText('No call of this partner was refused or failed in the last 14 days.').waitFor();
    for (const tab of ['calls', 'errors']) {
      const path = `**/admin/channel-users/*/${tab}?*`;
      await page.route(path, (route) => route.fulfill({ status: 404, json: { status: 404, code: 'route.not-found' } }));
      await open(page, quiet, tab);
      await page.getByText(/Could not load the .*calls\. The server runs an older version/).waitFor();
      await look(page, `${tab}-older-server`);
      await page.unroute(path);
      await page.getByRole('button', { name: 'Try again' }).click();
      await page.getByText(/no calls since|No call of this partner/).waitFor();
      const held = Promise.withResolvers<undefined>();
      await page.route(path, async (route) => {
        await held.promise;
        await route.fulfill({ status: 403, json: { status: 403, detail: 'It is not for you.' } });
      });
      await open(page, quiet, tab);
      await page.getByRole('status', { name: /Loading the .*calls/ }).waitFor();
      held.resolve(undefined);
      await page.getByText(/Could not load the .*calls\. It is not for you\./).waitFor();
      await page.unroute(path);
    }
    await page.context().close();
  });

  it('are found by request id from every page, with the keyboard, and by a shared address', async () => {
    const red = await provision('Red Channel');
    const id = await call(red, '/me/usage?hours=0', 400);
    await recorded(id);
    const page = await somebody();
    // The text that a colleague has from the partner, with the name of the header.
    for (let i = 0; i < 10 && (await focused(page)) !== 'Request id'; i++) {
      await page.keyboard.press('Tab');
    }
    await page.keyboard.insertText(` X-Request-Id: ${id.toUpperCase()} `);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: `Request ${id}` }).waitFor();
    expect(await facts(page)).toEqual({
      Asked: 'GET /me/usage',
      Answered: '400 Bad Request, request.invalid',
      Why: 'The request was not valid.',
      'What to do': expect.stringContaining('The answer lists the fields') as string,
      When: expect.stringMatching(/\d\d:\d\d:\d\d$/) as string,
      Partner: 'Red Channel (red-channel) · All its refused and failed calls',
    });
    const address = `${stage.url}/console/requests/${id}`;
    expect([page.url(), await field(page).inputValue()]).toEqual([address, id]);
    await look(page, 'request-call');
    await page.getByRole('link', { name: 'All its refused and failed calls' }).click();
    await page.getByRole('link', { name: id }).click();
    await page.getByRole('heading', { name: `Request ${id}` }).waitFor();
    await page.getByRole('link', { name: 'Red Channel' }).click();
    await page.getByRole('heading', { name: 'Red Channel', level: 1 }).waitFor();
    expect(await field(page).inputValue()).toBe('');
    await page.context().close();

    const { page: other } = await stage.somebody();
    await other.goto(address);
    await other.getByLabel('E-mail').fill(viewer.email);
    await other.getByLabel('Password').fill(viewer.password);
    await stage.pressSignIn(other);
    await other.getByRole('heading', { name: `Request ${id}` }).waitFor();
    expect(other.url()).toBe(address);
    await other.context().close();
  });

  it('are found beside sign-ins and changes, from where their request ids stand', async () => {
    const grey = await provision('Grey Channel');
    await stage.generateToken('grey-channel', 'not the password');
    const page = await somebody();
    await open(page, grey, 'activity');
    await page
      .getByRole('link', { name: /^[0-9a-f-]{36}$/ })
      .first()
      .click();
    await page.getByRole('heading', { name: /^Request/, level: 2 }).waitFor();
    expect(await facts(page)).toMatchObject({
      Asked: 'A token, from 127.0.0.1',
      Answered: 'A refusal, invalid_credentials',
      Why: 'The password was wrong.',
      Partner: 'Grey Channel (grey-channel) · All its sign-ins',
    });
    await look(page, 'request-sign-in');
    const signIn = page.url();

    await page.goto(`${stage.url}/console/audit-events`);
    await page.getByRole('row').filter({ hasText: 'grey-channel' }).getByText('Partner added').click();
    await page
      .getByRole('dialog')
      .getByRole('link', { name: /^[0-9a-f-]{36}$/ })
      .click();
    await page.getByRole('heading', { name: 'What it changed' }).waitFor();
    expect(await facts(page)).toEqual({
      Asked: expect.stringContaining('Partner added') as string,
      Answered: 'The change was made',
      When: expect.any(String) as string,
    });
    await page.getByText('by Ada Admin from 127.0.0.1').first().waitFor();
    await look(page, 'request-change');
    await page.getByRole('main').getByRole('link', { name: 'grey-channel' }).first().click();
    await page.getByRole('heading', { name: 'Grey Channel', level: 1 }).waitFor();

    const rotated = await stage.asStaff(grey.token, 'POST', '/me/credentials', { password: grey.password });
    const { credential } = (await rotated.json()) as { credential: { password: string } };
    secret(credential.password);
    await page.goto(`${stage.url}/console/requests/${rotated.headers.get('x-request-id') ?? ''}`);
    await page.getByRole('heading', { name: 'What it changed' }).waitFor();
    expect(await facts(page)).toMatchObject({
      Answered: 'The change was made',
      Partner: 'Grey Channel (grey-channel)',
    });
    await look(page, 'request-own-change');

    const gone = await stage.asStaff(admin, 'DELETE', `/admin/channel-users/${grey.id}`);
    expect(gone.status).toBe(204);
    await page.goto(signIn);
    await page.getByRole('heading', { name: /^Request/, level: 2 }).waitFor();
    expect(await facts(page)).toMatchObject({ Why: 'The password was wrong.', Partner: 'It has been deleted.' });
    await page.context().close();
  });

  it('are not found by an id that is unknown or none, which the page explains', async () => {
    const page = await somebody();
    await field(page).fill(UNKNOWN);
    await field(page).press('Enter');
    await page.getByText(`Request ${UNKNOWN}`).waitFor();
    await page.getByText(/Successful calls are only counted .* kept for 14 days, and sign-ins for 90\./).waitFor();
    await look(page, 'request-unknown');
    // A mistyped text may be a password, so it stays in the field.
    const asked: string[] = [];
    page.on('request', (request) => asked.push(request.url()));
    for (const text of ['s3cret-text', `${UNKNOWN}0`, `${UNKNOWN} ${randomUUID()}`]) {
      await field(page).fill(text);
      await field(page).press('Enter');
      await page.getByText('This is not a request id').waitFor();
      expect([page.url(), await field(page).inputValue()]).toEqual([`${stage.url}/console/requests`, text]);
    }
    expect(asked.filter((url) => /s3cret|requests/.test(url))).toEqual([]);
    await look(page, 'request-malformed');
    await page.goto(`${stage.url}/console/requests/x`);
    await page.getByText('This is not a request id').waitFor();
    await page.goto(`${stage.url}/console/requests`);
    await page.getByText('Paste a request id into the field at the top.').waitFor();

    await page.route('**/admin/requests/*', (route) =>
      route.fulfill({ status: 404, json: { status: 404, code: 'route.not-found' } }),
    );
    await page.goto(`${stage.url}/console/requests/${UNKNOWN}`);
    await page.getByText(/Could not load the request\. The server runs an older version/).waitFor();
    await page.context().close();
  });

  it('are found on a phone, too', async () => {
    const pink = await provision('Pink Channel');
    const id = await call(pink, '/me/usage?hours=0', 400);
    await recorded(id);
    const page = await somebody(PHONE);
    await page.getByRole('link', { name: 'Look up a request id' }).click();
    await field(page).waitFor();
    expect(await focused(page)).toBe('Request id');
    expect(await overflows(page)).toBe(false);
    await field(page).fill('x');
    await page.getByRole('button', { name: 'Look up', exact: true }).click();
    await page.getByText('This is not a request id').waitFor();
    expect(await field(page).inputValue()).toBe('x');
    await field(page).fill(id);
    await page.getByRole('button', { name: 'Look up', exact: true }).click();
    await page.getByRole('heading', { name: `Request ${id}` }).waitFor();
    expect(await overflows(page)).toBe(false);
    for (const tab of ['calls', 'errors']) {
      await open(page, pink, tab);
      await page.getByText('GET /me/usage').first().waitFor();
      expect(await overflows(page)).toBe(false);
      const { x = -1, width = 0 } = (await page.getByRole('tab', { name: 'History' }).boundingBox()) ?? {};
      expect([x >= 0, x + width <= PHONE.width]).toEqual([true, true]);
    }
    await page.context().close();
  });

  it('are accessible in both themes, on a desktop and on a phone, and without errors of the browser', () => {
    expect({ findings, complaints: stage.complaints }).toEqual({ findings: [], complaints: [] });
  });
});
