import { AxeBuilder } from '@axe-core/playwright';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';

/** Git-ignored: what the pages looked like, for people. */
const SCREENSHOTS = path.resolve('screenshots');

export const DESKTOP = { width: 1280, height: 900 };
const PHONE = { width: 360, height: 740 };
const WIDE = { width: 1920, height: 1080 };

/** Chromium of `CHROMIUM_PATH` or the search path; nothing where there is none. */
export function chromiumPath(): string | undefined {
  const named = process.env['CHROMIUM_PATH'];
  if (named !== undefined && named !== '') return named;
  return (process.env['PATH'] ?? '')
    .split(path.delimiter)
    .flatMap((folder) => ['chromium', 'chromium-browser', 'google-chrome'].map((name) => path.join(folder, name)))
    .find((file) => existsSync(file));
}

/** Starts the browser. Not imported before: it is not needed where there is none. */
export async function launch(executablePath: string): Promise<Browser> {
  const { chromium } = await import('playwright-core');
  return chromium.launch({
    executablePath,
    // Shared memory is small in a container, and PostgreSQL needs it.
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });
}

/** What the browser complained about, such as a script that the content security policy refused. */
export function complaintsOf(context: BrowserContext): string[] {
  const complaints: string[] = [];
  context.on('weberror', (error) => complaints.push(error.error().message));
  context.on('console', (message) => {
    // A refused request is the page's business: it says so itself.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
      complaints.push(message.text());
  });
  return complaints;
}

export async function keepPicture(page: Page, name: string): Promise<void> {
  await mkdir(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`), fullPage: true });
}

/** The findings of axe that keep somebody from using the page, one line each. */
async function seriousFindings(page: Page): Promise<string[]> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ target, html }) => `${id} ${String(target)} ${html.slice(0, 200)}`));
}

/** What changed with the size has been drawn, and colours have stopped changing; what turns for ever is not waited for. */
const SETTLED = `(async () => {
  for (let i = 0; i < 2; i++) await new Promise((done) => requestAnimationFrame(done));
  const ends = document.getAnimations().map(({ finished }) => finished.catch(() => undefined));
  await Promise.race([Promise.all(ends), new Promise((done) => setTimeout(done, 1_000))]);
})()`;

/** Whether one has to scroll sideways. */
const overflows = (page: Page): Promise<boolean> =>
  page.evaluate('document.documentElement.scrollWidth > document.documentElement.clientWidth');

/**
 * Looks at a page in both themes, on a desktop and on a phone: keeps a picture of each and tells what is wrong.
 *
 * @returns the findings, each with the picture it belongs to
 */
export async function inspect(page: Page, name: string): Promise<string[]> {
  if (process.env['STORY_FAST'] === '1') return [];
  const findings: string[] = [];
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    for (const [device, viewport] of Object.entries({ desktop: DESKTOP, phone: PHONE })) {
      await page.setViewportSize(viewport);
      await page.evaluate(SETTLED);
      const picture = `${name}-${colorScheme}-${device}`;
      await keepPicture(page, picture);
      if (await overflows(page)) findings.push(`${picture}: scrolls sideways`);
      // Colours depend on the theme and little else: two of the four will do.
      if ((colorScheme === 'light') !== (device === 'desktop')) continue;
      if ((await seriousFindings(page)).length === 0) continue;
      // What fades in or out has no contrast meanwhile: only what stays counts.
      await page.waitForTimeout(1_500);
      findings.push(...(await seriousFindings(page)).map((finding) => `${picture}: ${finding}`));
    }
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize(DESKTOP);
  return findings;
}

/** Names of the parts that one has to scroll sideways. */
const SIDEWAYS = `[...document.querySelectorAll('body *')]
  .filter((part) => part.scrollWidth > part.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(part).overflowX))
  .map(({ tagName, className }) => tagName + ' ' + String(className))`;

/**
 * Looks at a page on a wide screen, and keeps a picture.
 *
 * @returns what one has to scroll sideways, and how much of the screen's width the page itself takes (0 to 1)
 */
export async function inspectWide(page: Page, name: string): Promise<{ sideways: string[]; share: number }> {
  await page.setViewportSize(WIDE);
  await page.evaluate(SETTLED);
  await keepPicture(page, `${name}-light-wide`);
  const sideways = await page.evaluate<string[]>(SIDEWAYS);
  if (await overflows(page)) sideways.push('the page');
  const share = await page.evaluate<number>(
    `Math.max(...[...document.querySelectorAll('main .MuiPaper-root')].map((part) => part.clientWidth)) / innerWidth`,
  );
  await page.setViewportSize(DESKTOP);
  return { sideways, share };
}
