import { loadConfig } from '../../src/platform/config/config.ts';
import type { StaffOidcConfig } from '../../src/platform/config/staff-oidc.ts';
import { IdentityProviderService } from '../../src/staff/oidc/identity-provider.service.ts';
import type { Answer } from './answer.ts';
import { TestApp } from './app.ts';
import { CookieJar, IdentityProviderStage, type PersonClaims } from './identity-provider.ts';
import { secret } from './secrets.ts';

/** The address of the console in the tests, which leads nowhere. */
export const CONSOLE_URL = 'http://console.latchkey.test';
const START = '/admin/session/oidc';
/** Milliseconds for the provider's answers, enough on a busy machine. */
const PATIENCE_MS = 30_000;

/** An application with a real identity provider. */
export interface SingleSignOn {
  readonly app: TestApp;
  readonly provider: IdentityProviderStage;
  readonly staffOidc: StaffOidcConfig;
}

/** @param environment further settings of the provider, and of Latchkey */
export async function startSingleSignOn(environment: Record<string, string> = {}): Promise<SingleSignOn> {
  let reach = '';
  const provider = await IdentityProviderStage.start({ consoleUrl: CONSOLE_URL, reach: () => reach });
  const { staffOidc, webhookAllowedNetworks } = loadConfig({ ...provider.environment, ...environment });
  if (!staffOidc) throw new Error('The settings of the provider name none');
  const app = await TestApp.start({ adminUrl: CONSOLE_URL, staffOidc, webhookAllowedNetworks });
  reach = app.staffUrl;
  patient(app);
  return { app, provider, staffOidc };
}

/** Lets the application wait for the provider as long as a busy machine needs. */
export function patient(app: TestApp, timeoutMs = PATIENCE_MS): void {
  app.app.nest.get(IdentityProviderService).timeoutMs = timeoutMs;
}

/** A browser with the cookies of Latchkey and of the provider. */
export class Visitor {
  readonly cookies = new CookieJar();
  readonly #atProvider = new CookieJar();

  constructor(private readonly app: TestApp) {}

  /** Calls Latchkey with the cookies of this browser. */
  async request(method: string, path: string, json?: unknown, app = this.app): Promise<Answer> {
    const headers = { cookie: this.cookies.header, origin: CONSOLE_URL };
    const answer = await app.request(method, path, { headers, ...(json !== undefined && { json }) });
    this.cookies.take(answer.headers);
    for (const line of answer.headers.getSetCookie()) {
      const [value] = line.slice(line.indexOf('=') + 1).split(';', 1);
      if (value) secret(value);
    }
    return answer;
  }

  /** Begins a sign-in. @returns the provider's page to which the browser is sent */
  async begin(query = ''): Promise<URL> {
    return new URL((await this.request('GET', START + query)).expect(302).headers.get('location') ?? '');
  }

  /** Visits the provider until it sends the browser back. @returns the path and query to which it does */
  async visit(page: URL): Promise<string> {
    for (let url = page; ;) {
      const answer = await fetch(url, { headers: { cookie: this.#atProvider.header }, redirect: 'manual' });
      this.#atProvider.take(answer.headers);
      const location = answer.headers.get('location');
      if (location === null) throw new Error(`The provider answered ${String(answer.status)}: ${await answer.text()}`);
      url = new URL(location, url);
      if (url.origin !== CONSOLE_URL) continue;
      const code = url.searchParams.get('code');
      if (code !== null) secret(code);
      return url.pathname + url.search;
    }
  }

  /** Signs out at the provider, as its own page does. */
  async signOutAtProvider(issuer: string): Promise<void> {
    const headers = { cookie: this.#atProvider.header };
    const page = await fetch(`${issuer}/session/end`, { headers });
    this.#atProvider.take(page.headers);
    const xsrf = /name="xsrf" value="([^"]+)"/.exec(await page.text())?.[1] ?? '';
    const confirmed = await fetch(`${issuer}/session/end/confirm`, {
      method: 'POST',
      headers: { cookie: this.#atProvider.header },
      body: new URLSearchParams({ xsrf, logout: 'yes' }),
      redirect: 'manual',
    });
    if (confirmed.status >= 400) throw new Error(`The provider answered ${String(confirmed.status)}`);
    this.#atProvider.take(confirmed.headers);
  }

  /** Signs in from beginning to end. @returns the last answer of Latchkey */
  async signIn(query = ''): Promise<Answer> {
    return this.request('GET', await this.visit(await this.begin(query)));
  }
}

/** Signs a person in with a new browser. */
export async function signInAs(
  { app, provider }: Pick<SingleSignOn, 'app' | 'provider'>,
  subject: string,
  claims: PersonClaims,
): Promise<{ visitor: Visitor; answer: Answer }> {
  provider.people.set(subject, claims);
  provider.person = subject;
  const visitor = new Visitor(app);
  return { visitor, answer: await visitor.signIn() };
}
