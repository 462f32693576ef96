import { randomBytes } from 'node:crypto';
import type { Browser, BrowserContext, Locator, Page } from 'playwright-core';
import { complaintsOf, DESKTOP, keepPicture, launch } from './browser.ts';
import { createDatabase } from './database.ts';
import { keepOutput, secret } from './secrets.ts';
import { freePort } from './ports.ts';
import { isRunning, ServerProcess } from './server.ts';
import { type StaffCredentials, staffTokenOf } from './staff-sign-in.ts';

/** The built server with its console on its own database, an admin, and a browser. */
export class ConsoleStage {
  readonly admin = { email: 'ada@latchkey.example', password: '' };
  /** The errors of all browsers that were closed. */
  readonly complaints: string[] = [];
  readonly url: string;
  readonly databaseUrl: string;
  readonly #environment: Record<string, string>;
  readonly #drop: () => Promise<void>;
  readonly #open = new Set<Page>();
  #server: ServerProcess | undefined;
  #browser: Browser | undefined;
  #output = '';

  private constructor(
    database: { url: string; drop: () => Promise<void> },
    port: number,
    environment: Record<string, string>,
  ) {
    this.url = `http://127.0.0.1:${String(port)}`;
    this.databaseUrl = database.url;
    this.#drop = database.drop;
    this.#environment = {
      NODE_ENV: 'development',
      DATABASE_URL: database.url,
      PORT: String(port),
      PUBLIC_URL: this.url,
      KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
      ...environment,
    };
  }

  /** @param environment further settings of the server */
  static async start(chromium: string, environment: Record<string, string> = {}): Promise<ConsoleStage> {
    const stage = new ConsoleStage(await createDatabase(), await freePort(), environment);
    try {
      const created = await stage.#cli('staff', 'create', '--email', stage.admin.email, '--name', 'Ada Admin');
      stage.admin.password = secret(/password: (\S+)/i.exec(created)?.[1] ?? '');
      await stage.startServer();
      stage.#browser = await launch(chromium);
      return stage;
    } catch (error) {
      await stage.close();
      throw error;
    }
  }

  /** Starts the server. After {@link stopServer}, it starts again at the same address. */
  async startServer(): Promise<void> {
    this.#server = new ServerProcess({ env: this.#environment });
    await this.#server.listening();
  }

  async stopServer(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    if (isRunning(server.pid)) await server.kill('SIGTERM');
    this.#output += `${server.stdout}${server.stderr}`;
    this.#server = undefined;
  }

  async #cli(...args: string[]): Promise<string> {
    const command = new ServerProcess({
      env: this.#environment,
      command: [process.execPath, 'dist/src/cli.js', ...args],
    });
    expect({ exited: await command.exited, stderr: command.stderr }).toEqual({ exited: 0, stderr: '' });
    return command.stdout;
  }

  /** Opens a separate browser context for one person. */
  async somebody(): Promise<{ context: BrowserContext; page: Page }> {
    if (!this.#browser) throw new Error('The browser was not started');
    const context = await this.#browser.newContext({ viewport: DESKTOP, reducedMotion: 'reduce' });
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    const page = await context.newPage();
    page.setDefaultTimeout(60_000);
    const heard = complaintsOf(context);
    this.#open.add(page);
    context.once('close', () => {
      this.complaints.push(...heard);
      this.#open.delete(page);
    });
    return { context, page };
  }

  /** @param url the URL of the server, for a test that uses another of its names */
  async signIn(page: Page, { email, password }: StaffCredentials, url = this.url): Promise<void> {
    await page.goto(`${url}/console/`);
    await page.getByLabel('E-mail').fill(email);
    await page.getByLabel('Password').fill(password);
    await this.pressSignIn(page);
  }

  /** Presses *Sign in* and waits for the answer. While a busy machine has no time to check the password, the page waits. */
  async pressSignIn(page: Page, within: Page | Locator = page): Promise<void> {
    const answered = page.waitForResponse(
      (response) =>
        response.url().endsWith('/admin/session') &&
        response.request().method() === 'POST' &&
        response.status() !== 503,
    );
    await within.getByRole('button', { name: 'Sign in', exact: true }).click();
    await answered;
  }

  /** Chooses a password with the secret of a one-time link, as a new colleague does. @returns the password */
  async choosePassword(link: string): Promise<string> {
    const newPassword = secret(randomBytes(18).toString('base64url'));
    const answer = await fetch(`${this.url}/admin/password-link/use`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ secret: secret(link.split('#')[1] ?? ''), newPassword }),
    });
    expect(answer.status).toBe(200);
    return newPassword;
  }

  /** Obtains a token, as a partner does with its password. */
  async generateToken(
    username: string,
    password: string,
  ): Promise<{ status: number; text: string; code: string | null }> {
    const answer = await fetch(`${this.url}/generateToken`, {
      method: 'POST',
      body: new URLSearchParams({ Username: username, Password: password }),
    });
    const text = await answer.text();
    if (answer.status === 200) secret(text);
    return { status: answer.status, text, code: answer.headers.get('error-code') };
  }

  /** Calls `GET /me`. @returns the status */
  async me(token: string): Promise<number> {
    return (await fetch(`${this.url}/me`, { headers: { authorization: `Bearer ${token}` } })).status;
  }

  /** A token of a staff member, for calls without the browser. */
  tokenOf(credentials: StaffCredentials): Promise<string> {
    return staffTokenOf(this.url, credentials);
  }

  asStaff(token: string, method: string, path: string, json?: object): Promise<Response> {
    return fetch(this.url + path, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(json && { 'content-type': 'application/json' }) },
      ...(json && { body: JSON.stringify(json) }),
    });
  }

  /** Closes the pages that a failed test left open, and keeps a picture of each. */
  async leaveOpenPages(): Promise<void> {
    for (const page of this.#open) {
      await keepPicture(page, `failed-${String(Date.now())}`);
      await page.context().close();
    }
  }

  async close(): Promise<void> {
    await this.#browser?.close();
    await this.stopServer();
    keepOutput(this.#output);
    await this.#drop();
  }
}
