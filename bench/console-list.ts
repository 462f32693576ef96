import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os, { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs, promisify } from 'node:util';
import type { CDPSession, Page } from 'playwright-core';
import { chromiumPath, launch } from '../test/support/browser.ts';
import { USERNAME_PREFIX, usernameOf } from './accounts.ts';
import { createDatabase, withClient } from './database.ts';
import { writePage } from './page.ts';
import { migrate, seedChannelUsers } from './seed.ts';
import { ROOT, ServerProcess } from './server-process.ts';
import { spreadOf } from './statistics.ts';
import { interruption, runProgram, tell } from './terminal.ts';
import { latchkey } from './variants.ts';

/**
 * What the console's list costs the browser, by interaction: time in scripts, and time in style and layout beside it.
 *
 *     npm run build && node bench/console-list.ts [--keep file.cpuprofile]
 *
 * Writes CONSOLE.md. The kept file has the CPU profile of one round, and opens in Chrome's developer tools.
 */

const PARTNERS = 20_000;
/** Rounds that warm up the engine and are not counted. */
const WARM_UP_ROUNDS = 1;
const ROUNDS = 7;
/** The budget for scripts of one interaction, in milliseconds. */
const BUDGET_MS = 100;
const OPERATOR = 'bench@latchkey.example';

const run = promisify(execFile);

/** In milliseconds. */
interface Cost {
  readonly script: number;
  readonly layout: number;
}

interface Interaction {
  readonly name: string;
  /** CSS selector of the element to click. */
  readonly target: string;
  /** The text to type after that. */
  readonly text?: string;
  /** Whether the interaction requests the list. */
  readonly asks: boolean;
  /** Checks the result. Not measured. */
  readonly check: (page: Page) => Promise<void>;
}

const ROW = 'tbody tr';
const SELECT_ALL = 'thead input[type=checkbox]';
const firstIs = (n: number) => (page: Page) =>
  page.locator(ROW).first().getByText(usernameOf(n), { exact: true }).waitFor();
const selected = (words: string) => (page: Page) => page.getByText(words, { exact: true }).waitFor();

/** In this order. Each starts where the previous one ended, and the last ends where the first started. */
const INTERACTIONS: readonly Interaction[] = [
  {
    name: 'Search: type five letters, the list narrows',
    target: 'main input[type=search]',
    text: '19999',
    asks: true,
    check: firstIs(19_999),
  },
  {
    name: 'Clear the search: 50 rows come back',
    target: '[aria-label="Clear search"]',
    asks: true,
    check: firstIs(1),
  },
  {
    name: 'Next page: 50 other rows',
    target: '[aria-label="Go to next page"]',
    asks: true,
    check: firstIs(10_042),
  },
  {
    name: 'Sort by the last token: 50 other rows',
    target: 'thead [data-field=lastTokenAt]',
    asks: true,
    check: firstIs(1),
  },
  {
    name: 'Sort by name: 50 other rows',
    target: 'thead [data-field=username]',
    asks: true,
    check: async (page) => {
      await page.waitForURL(/sort=username/);
      await firstIs(1)(page);
    },
  },
  {
    name: 'Select a row',
    target: `${ROW}:nth-child(5) input[type=checkbox]`,
    asks: false,
    check: selected('1 item selected'),
  },
  {
    name: 'Select all 50 of the page',
    target: SELECT_ALL,
    asks: false,
    check: selected('50 items selected'),
  },
  {
    name: 'Select none',
    target: SELECT_ALL,
    asks: false,
    check: (page) => page.locator(`${ROW} input:checked`).first().waitFor({ state: 'detached' }),
  },
];

/** The time that Chromium has spent so far, in milliseconds. */
async function spent(session: CDPSession): Promise<Cost> {
  const { metrics } = await session.send('Performance.getMetrics');
  const seconds = (name: string): number => metrics.find((metric) => metric.name === name)?.value ?? NaN;
  return {
    script: 1_000 * seconds('ScriptDuration'),
    layout: 1_000 * (seconds('LayoutDuration') + seconds('RecalcStyleDuration')),
  };
}

/** Waits until nothing is drawn any more, because all work that an interaction starts belongs to it. */
const SETTLED = `(async () => {
  for (let i = 0; i < 2; i++) await new Promise((done) => requestAnimationFrame(done));
  const ends = document.getAnimations().map(({ finished }) => finished.catch(() => undefined));
  await Promise.race([Promise.all(ends), new Promise((done) => setTimeout(done, 1_000))]);
  for (let i = 0; i < 2; i++) await new Promise((done) => requestAnimationFrame(done));
})()`;

/** Keeps the measurement's own cost low: it clicks by coordinates and watches responses from outside the page. */
async function measureInteraction(page: Page, session: CDPSession, interaction: Interaction): Promise<Cost> {
  const { target, text, asks, check } = interaction;
  const element = page.locator(target).first();
  await element.scrollIntoViewIfNeeded();
  const box = await element.boundingBox();
  if (!box) throw new Error(`"${interaction.name}" finds nothing to click`);
  await page.evaluate(SETTLED);
  const before = await spent(session);
  const answered = asks
    ? page.waitForResponse((response) => response.url().includes('/admin/channel-users?'))
    : Promise.resolve(null);
  await page.mouse.click(box.x + box.width / 2, box.y + box.height / 2);
  if (text !== undefined) await page.keyboard.type(text);
  await (await answered)?.finished();
  await page.evaluate(SETTLED);
  const after = await spent(session);
  await check(page);
  return { script: after.script - before.script, layout: after.layout - before.layout };
}

async function measureRound(page: Page, session: CDPSession): Promise<Map<string, Cost>> {
  const costs = new Map<string, Cost>();
  for (const interaction of INTERACTIONS) {
    interruption.throwIfAborted();
    costs.set(interaction.name, await measureInteraction(page, session, interaction));
  }
  return costs;
}

async function signIn(page: Page, origin: string, password: string): Promise<void> {
  await page.goto(`${origin}/console/`);
  await page.getByLabel('E-mail').fill(OPERATOR);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('menuitem', { name: 'Partners' }).click();
  await page.locator(ROW).nth(49).waitFor();
}

/** @returns the costs of each interaction, a round each */
async function measure(origin: string, password: string, profileFile: string | undefined): Promise<Cost[][]> {
  const executable = chromiumPath();
  if (executable === undefined) throw new Error('There is no Chromium: set CHROMIUM_PATH');
  await using browser = await launch(executable);
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce' });
  const session = await page.context().newCDPSession(page);
  // The CPU time of the thread, which excludes other programs on this machine.
  await session.send('Performance.enable', { timeDomain: 'threadTicks' });
  await signIn(page, origin, password);
  const rounds: Map<string, Cost>[] = [];
  for (let round = 0; round < WARM_UP_ROUNDS + ROUNDS; round++) {
    tell(`round ${String(round + 1)} of ${String(WARM_UP_ROUNDS + ROUNDS)}`);
    rounds.push(await measureRound(page, session));
  }
  if (profileFile !== undefined) {
    await session.send('Profiler.enable');
    await session.send('Profiler.start');
    await measureRound(page, session);
    const { profile } = await session.send('Profiler.stop');
    await writeFile(profileFile, JSON.stringify(profile));
  }
  return INTERACTIONS.map(({ name }) =>
    rounds.slice(WARM_UP_ROUNDS).map((costs) => costs.get(name) ?? { script: NaN, layout: NaN }),
  );
}

function report(costs: readonly Cost[][]): string {
  const ms = (values: number[]): string => {
    const { median, min, max } = spreadOf(values);
    return `${median.toFixed(0)} (${min.toFixed(0)}–${max.toFixed(0)})`;
  };
  const lines = INTERACTIONS.map(({ name }, index) => {
    const each = costs[index] ?? [];
    return [name, ms(each.map(({ script }) => script)), ms(each.map(({ layout }) => layout))];
  });
  const table = [['interaction', 'scripts, ms', 'style and layout, ms'], ['---', '---:', '---:'], ...lines];
  return `# What the console's list costs the browser

Written by \`node bench/console-list.ts\`: ${PARTNERS.toLocaleString('en')} partners, 50 rows a page, Chromium without throttling at
1280 × 900, ${os.cpus()[0]?.model.trim() ?? 'unknown'}, ${String(os.cpus().length)} cores, ${new Date().toISOString().slice(0, 10)}. Median of ${String(ROUNDS)} rounds (least–most). The budget is
${String(BUDGET_MS)} ms of scripting for an interaction.

${table.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}
`;
}

/** Partners as in a real list: with recorded sign-ins, and some with an expiry. */
async function liven(databaseUrl: string): Promise<void> {
  await withClient(databaseUrl, (client) =>
    client.query(
      `UPDATE channel_user SET last_token_at = now() - n * interval '1 minute',
          expires_at = CASE WHEN n % 3 = 0 THEN now() + n * interval '1 hour' END
        FROM (SELECT id, substr(username, $1)::integer AS n FROM channel_user) AS numbered
        WHERE numbered.id = channel_user.id`,
      [USERNAME_PREFIX.length + 1],
    ),
  );
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { keep: { type: 'string' } } });
  const folder = await mkdtemp(path.join(tmpdir(), 'latchkey-console-list-'));
  try {
    await using database = await createDatabase('console');
    await migrate(database.url);
    await seedChannelUsers(database.url, PARTNERS);
    await liven(database.url);
    const definition = latchkey('latchkey', database.url);
    // The browser uses http, so the cookie must not be Secure.
    const env = { ...definition.env, NODE_ENV: 'development', PUBLIC_URL: 'http://127.0.0.1' };
    const create = ['dist/src/cli.js', 'staff', 'create', '--email', OPERATOR, '--name', 'Bench', '--role', 'operator'];
    const { stdout } = await run(process.execPath, create, {
      cwd: ROOT,
      env: { PATH: process.env['PATH'], ...env },
    });
    const password = /password: (\S+)/i.exec(stdout)?.[1] ?? '';
    await using server = await ServerProcess.start({ ...definition, env }, folder);
    const profileFile = values.keep === undefined ? undefined : path.join(folder, 'list.cpuprofile');
    const text = report(await measure(server.origin, password, profileFile));
    await writePage('CONSOLE.md', text);
    process.stdout.write(text);
    if (profileFile !== undefined && values.keep !== undefined) await copyFile(profileFile, values.keep);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await runProgram(main);
