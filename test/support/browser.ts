import { AxeBuilder } from '@axe-core/playwright';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';

/** The folder for pictures of the pages, which people look at. Git ignores it. */
const SCREENSHOTS = path.resolve('screenshots');

export const DESKTOP = { width: 1280, height: 900 };
const PHONE = { width: 360, height: 740 };
const WIDE = { width: 1920, height: 1080 };

/** The path of Chromium, from `CHROMIUM_PATH` or the search path. Nothing if there is none. */
export function chromiumPath(): string | undefined {
  const named = process.env['CHROMIUM_PATH'];
  if (named !== undefined && named !== '') return named;
  return (process.env['PATH'] ?? '')
    .split(path.delimiter)
    .flatMap((folder) => ['chromium', 'chromium-browser', 'google-chrome'].map((name) => path.join(folder, name)))
    .find((file) => existsSync(file));
}

/** Starts the browser. Imports playwright only now, because machines without a browser do not need it. */
export async function launch(executablePath: string): Promise<Browser> {
  const { chromium } = await import('playwright-core');
  return chromium.launch({
    executablePath,
    // A container has little shared memory, and PostgreSQL needs it.
    // `latchkey.lan` is a name of this machine. Unlike the address, it is not a secure context.
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--host-resolver-rules=MAP latchkey.lan 127.0.0.1'],
  });
}

/** Collects the browser's errors, such as a script that the content security policy refused. */
export function complaintsOf(context: BrowserContext): string[] {
  const complaints: string[] = [];
  context.on('weberror', (error) => complaints.push(error.error().message));
  context.on('console', (message) => {
    // Refused requests are not collected, because the page itself reports them.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
      complaints.push(message.text());
  });
  return complaints;
}

export async function keepPicture(page: Page, name: string): Promise<void> {
  await mkdir(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`), fullPage: true });
}

/** The serious and critical findings of axe, one line each. */
async function seriousFindings(page: Page): Promise<string[]> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ target, html }) => `${id} ${String(target)} ${html.slice(0, 200)}`));
}

/** Waits until a new size is drawn and animations have ended. Endless animations are waited for one second. */
const SETTLED = `(async () => {
  for (let i = 0; i < 2; i++) await new Promise((done) => requestAnimationFrame(done));
  const ends = document.getAnimations().map(({ finished }) => finished.catch(() => undefined));
  await Promise.race([Promise.all(ends), new Promise((done) => setTimeout(done, 1_000))]);
})()`;

/** Whether the page is wider than the window. */
const overflows = (page: Page): Promise<boolean> =>
  page.evaluate('document.documentElement.scrollWidth > document.documentElement.clientWidth');

/**
 * Checks a page in both themes, on a desktop and on a phone, and keeps a picture of each.
 *
 * @returns the findings, each with the name of its picture
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
      // Colours depend mostly on the theme, so axe checks only two of the four combinations.
      if ((colorScheme === 'light') !== (device === 'desktop')) continue;
      if ((await seriousFindings(page)).length === 0) continue;
      // Parts that fade in or out have too little contrast for a moment, so only findings that stay count.
      await page.waitForTimeout(1_500);
      findings.push(...(await seriousFindings(page)).map((finding) => `${picture}: ${finding}`));
    }
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize(DESKTOP);
  return findings;
}

/** Names of the parts of a page that scroll sideways. */
const SIDEWAYS = `[...document.querySelectorAll('body *')]
  .filter((part) => part.scrollWidth > part.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(part).overflowX))
  .map(({ tagName, className }) => tagName + ' ' + String(className))`;

/**
 * Checks a page on a wide screen, and keeps a picture.
 *
 * @returns the parts that scroll sideways, and the share of the screen's width that the page uses (0 to 1)
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
