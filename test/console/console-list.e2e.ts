import pg from 'pg';
import type { Page } from 'playwright-core';
import { chromiumPath } from '../support/browser.ts';
import { ConsoleStage } from '../support/console.ts';

/**
 * What a long list asks of the browser and the server, counted: how long it takes is measured by `bench/console-list.ts`.
 * `test/console/console-story.e2e.ts` says where there is no Chromium.
 */
const executable = chromiumPath();
const list = executable === undefined ? describe.skip : describe;

const PARTNERS = 20_000;
const ROWS = 50;

let stage: ConsoleStage;
let page: Page;
/** What the page asked the staff API for since the last time that this was emptied. */
let asked: string[] = [];

/** In one statement. */
async function seed(): Promise<void> {
  const client = new pg.Client({ connectionString: stage.databaseUrl });
  await client.connect();
  try {
    await client.query('BEGIN');
    await client.query(
      `INSERT INTO channel_user (username, username_key, display_name, scopes, token_ttl_seconds, tokens_per_minute,
          allowed_ips, external_id, search_text, last_token_at, expires_at, updated_at)
        SELECT name, name, 'Partner ' || n, '{calendar:write,properties:read,properties:write}', 3600, 60, '{}',
          'CRM-' || n, name || ' partner ' || n, now() - n * interval '1 minute', now() + n * interval '1 hour', now()
        FROM generate_series(1, $1::integer) AS n, concat('partner-', n) AS name`,
      [PARTNERS],
    );
    await client.query('COMMIT');
    await client.query('ANALYZE channel_user, channel_user_use');
  } finally {
    await client.end();
  }
}

/**
 * Counts what is drawn: each row of the list shows times, each of which is written by `Date#toISOString` whenever
 * its cell is drawn, and by little else on this page.
 */
const COUNTERS = `
  globalThis.drawnTimes = 0;
  const toISOString = Date.prototype.toISOString;
  Date.prototype.toISOString = function () { globalThis.drawnTimes++; return toISOString.call(this); };`;

interface Drawn {
  /** Elements of the document. */
  readonly elements: number;
  readonly rows: number;
  /** Cells with a time that were drawn. */
  readonly times: number;
}

/** What was drawn since the last time. */
async function drawn(): Promise<Drawn> {
  return page.evaluate(`(() => {
    const counted = {
      elements: document.querySelectorAll('*').length,
      rows: document.querySelectorAll('tbody tr').length,
      times: drawnTimes,
    };
    drawnTimes = 0;
    return counted;
  })()`);
}

const firstRow = (username: string): Promise<void> =>
  page.locator('tbody tr').first().getByText(username, { exact: true }).waitFor();

/** Two times a row, its last token and its end, drawn once; a request of the page's own may write one more. */
const TIMES = 2 * ROWS + 5;

list('the list of 20,000 partners', () => {
  beforeAll(async () => {
    stage = await ConsoleStage.start(executable ?? '');
    await seed();
    const { context, page: opened } = await stage.somebody();
    page = opened;
    await context.addInitScript(COUNTERS);
    await stage.signIn(page, stage.admin);
    await page.getByRole('menuitem', { name: 'Partners' }).click();
    await firstRow('partner-1');
    await page.waitForLoadState('networkidle');
    page.on('request', (request) => {
      const { pathname, search } = new URL(request.url());
      if (pathname.startsWith('/admin/')) asked.push(`${request.method()} ${pathname}${search}`);
    });
  });
  beforeEach(async () => {
    asked = [];
    await drawn();
  });
  afterAll(() => stage.close());

  it('draws the rows of one page, however many there are', async () => {
    const { rows, elements } = await drawn();
    expect(rows).toBe(ROWS);
    expect(elements).toBeLessThan(2_500);
    await page.getByText('More than 10,000 partners').waitFor();
  });

  it('draws no cell again and sends no request when rows are selected', async () => {
    await page.locator('tbody tr').nth(4).getByRole('checkbox').click();
    await page.getByText('1 item selected').waitFor();
    expect(await drawn()).toMatchObject({ rows: ROWS, times: 0 });
    await page.getByRole('checkbox', { name: 'Select all' }).click();
    await page.getByText(`${String(ROWS)} items selected`).waitFor();
    expect(await drawn()).toMatchObject({ rows: ROWS, times: 0 });
    await page.getByRole('checkbox', { name: 'Select all' }).click();
    await page.locator('tbody input:checked').first().waitFor({ state: 'detached' });
    expect(await drawn()).toMatchObject({ rows: ROWS, times: 0 });
    expect(asked).toEqual([]);
  });

  it('sends one request for the next page and draws its rows', async () => {
    await page.getByRole('button', { name: 'Go to next page' }).click();
    await firstRow('partner-10042');
    const { rows, times } = await drawn();
    expect(rows).toBe(ROWS);
    expect(times).toBeLessThanOrEqual(TIMES);
    expect(asked).toHaveLength(1);
    expect(asked[0]).toMatch(/^GET \/admin\/channel-users\?limit=50&sort=username&cursor=[\w-]+$/);
  });

  it('sends one request for another order', async () => {
    await page.getByRole('columnheader', { name: 'Added' }).waitFor({ state: 'detached' });
    await page.getByRole('columnheader', { name: 'Last token' }).getByRole('button').click();
    await firstRow('partner-1');
    const { rows, times } = await drawn();
    expect(rows).toBe(ROWS);
    expect(times).toBeLessThanOrEqual(TIMES);
    expect(asked).toEqual(['GET /admin/channel-users?limit=50&sort=-lastTokenAt']);
  });

  it('filters by exactly the CRM id that is typed', async () => {
    await page.getByRole('textbox', { name: 'CRM id' }).fill(' CRM-1999 ');
    expect(asked).toEqual([]);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: '1 partner', exact: true }).waitFor();
    await firstRow('partner-1999');
    expect(asked).toEqual(['GET /admin/channel-users?externalId=CRM-1999&limit=50&sort=-lastTokenAt']);
    await page.getByRole('button', { name: 'Clear all' }).click();
    await page.getByText('More than 10,000 partners').waitFor();
    await page.waitForLoadState('networkidle');
  });

  it('sends one request for a search when the typing pauses', async () => {
    // In one task: on a slow machine the typing would rest between two keys.
    await page.evaluate(`(() => {
      const search = document.querySelector('main input[type=search]');
      const { set } = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value');
      for (const typed of ['1', '19', '199', '1999', '19999']) {
        set.call(search, typed);
        search.dispatchEvent(new Event('input', { bubbles: true }));
      }
    })()`);
    await page.getByRole('heading', { name: '1 partner', exact: true }).waitFor();
    expect(asked).toEqual(['GET /admin/channel-users?q=19999&limit=50&sort=-lastTokenAt']);
    expect((await drawn()).rows).toBe(1);
  });
});
