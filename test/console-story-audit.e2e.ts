import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Browser } from 'playwright-core';
import pg from 'pg';
import { chromiumPath, complaintsOf, DESKTOP, inspect, keepPicture, launch } from './support/browser.ts';
import { createDatabase } from './support/database.ts';
import { keepOutput, secret } from './support/secrets.ts';
import { isRunning, ServerProcess } from './support/server.ts';

/** The Audit page and the chain, in a real browser; see `console-story.e2e.ts`. */
const executable = chromiumPath();
const story = executable === undefined ? describe.skip : describe;

let database: { url: string; drop: () => Promise<void> } | undefined;
let server: ServerProcess | undefined;
let browser: Browser | undefined;

async function freePort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as { port: number };
  listener.close();
  await once(listener, 'close');
  return port;
}

story('the Audit page', () => {
  afterAll(async () => {
    await browser?.close();
    if (server && isRunning(server.pid)) await server.kill('SIGTERM');
    keepOutput(`${server?.stdout ?? ''}${server?.stderr ?? ''}`);
    await database?.drop();
  });

  it('says whether the chain is intact, and where it is not', async () => {
    database = await createDatabase();
    const port = await freePort();
    const env = {
      DATABASE_URL: database.url,
      PORT: String(port),
      PUBLIC_URL: `http://127.0.0.1:${String(port)}`,
      KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    };
    const email = 'ada@latchkey.example';
    const create = [process.execPath, 'dist/src/cli.js', 'staff', 'create', '--email', email, '--name', 'Ada Admin'];
    const command = new ServerProcess({ env, command: create });
    expect(await command.exited).toBe(0);
    const password = secret(/password: (\S+)/i.exec(command.stdout)?.[1] ?? '');
    server = new ServerProcess({ env });
    const url = await server.listening();
    browser = await launch(executable ?? '');
    const context = await browser.newContext({ viewport: DESKTOP, reducedMotion: 'reduce' });
    const complaints = complaintsOf(context);
    const page = await context.newPage();
    page.setDefaultTimeout(30_000);
    try {
      await page.goto(`${url}/console/`);
      await page.getByLabel('E-mail').fill(email);
      await page.getByLabel('Password').fill(password);
      await page.getByRole('button', { name: 'Sign in' }).click();
      await page.getByRole('menuitem', { name: 'Audit' }).click();
      await page.getByText('Chain not verified yet').waitFor();
      await page.getByRole('button', { name: 'Verify now' }).click();
      await page.getByText(/^Chain intact up to event 2, checked/).waitFor();

      const superuser = new pg.Client({ connectionString: database.url });
      await superuser.connect();
      await superuser.query(
        `SET session_replication_role = replica; UPDATE audit_event SET action = 'x.y' WHERE seq = 1`,
      );
      await superuser.end();
      await page.getByRole('button', { name: 'Verify now' }).click();
      await page.getByText(/^Chain broken: Event 1 is not as it was written, checked/).waitFor();
      expect(await inspect(page, 'audit-chain-broken')).toEqual([]);
      expect(complaints).toEqual([]);
    } catch (error) {
      await keepPicture(page, `failed-${String(Date.now())}`);
      throw error;
    }
  }, 300_000);
});
