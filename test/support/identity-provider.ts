import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { CompactSign, decodeJwt, decodeProtectedHeader } from 'jose';
import { type Configuration, type KoaContextWithOIDC, Provider } from 'oidc-provider';
import { secret } from './secrets.ts';

/** The claims of a person at the provider, besides `sub`. */
export type PersonClaims = Record<string, unknown>;

interface Parts {
  header: Record<string, unknown>;
  claims: Record<string, unknown>;
  key: KeyObject;
}

interface Key {
  readonly kid: string;
  readonly privateKey: KeyObject;
}

function newKey(): Key {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { kid: randomBytes(6).toString('hex'), privateKey };
}

/** Signs a token as it stands, also a wrong one. */
export async function signToken({ header, claims, key }: Parts): Promise<string> {
  const payload = Buffer.from(JSON.stringify(claims));
  if (header['alg'] === 'none') {
    return [JSON.stringify(header), payload, ''].map((part) => Buffer.from(part).toString('base64url')).join('.');
  }
  return secret(await new CompactSign(payload).setProtectedHeader(header as { alg: string }).sign(key));
}

export interface ProviderOptions {
  /** The address of the console, which the client is registered with. */
  consoleUrl: string;
  /** The name of this machine in the issuer, which makes it another site than that of the console. */
  host?: string;
  /** Where requests to `consoleUrl` really go. */
  reach?: () => string;
}

const CLIENT_ID = 'latchkey';
/** The page on which a person signs in. It has no script, and says whose name is asked for. */
const PAGE = `<!doctype html><html lang="en"><title>Company Login</title><main><h1>Company Login</h1>
<form method="post"><label>Name <input name="person" autofocus></label><button>Continue</button></form></main></html>`;

/**
 * A real identity provider, oidc-provider, on loopback. Tests change what it says and sign tokens with its key, to be
 * the provider, or somebody who is not.
 */
export class IdentityProviderStage {
  readonly clientSecret = secret(randomBytes(18).toString('base64url'));
  readonly people = new Map<string, PersonClaims>();
  /** The person who signs in at once, without the page. */
  person: string | undefined;
  /** Whether claims stand in the ID token, and not only at the UserInfo endpoint. */
  inIdToken = true;
  /** `down`: connections break. `silent`: no answer comes. `broken`: every answer is 502. */
  state: 'up' | 'down' | 'silent' | 'broken' = 'up';
  /** Changes the ID token before it is signed again. */
  forge: ((parts: Parts) => Parts) | undefined;
  /** Changes the metadata. */
  metadata: Record<string, unknown> = {};
  /** The paths that were requested. */
  readonly requests: string[] = [];
  key = newKey();
  readonly #server: http.Server;
  readonly #options: ProviderOptions;
  #client: Record<string, unknown> = {};
  #handle: http.RequestListener = () => undefined;
  #url = '';

  private constructor(options: ProviderOptions) {
    this.#options = options;
    this.#server = http.createServer((request, response) => {
      this.requests.push(new URL(request.url ?? '', this.#url).pathname);
      if (this.state === 'down') request.socket.destroy();
      else if (this.state === 'broken') response.writeHead(502, { 'content-type': 'text/html' }).end('<h1>Bad</h1>');
      else if (this.state === 'up') this.#handle(request, response);
    });
    // No connection is kept that a later fault could not reach.
    this.#server.keepAliveTimeout = 1;
  }

  static async start(options: ProviderOptions): Promise<IdentityProviderStage> {
    const stage = new IdentityProviderStage(options);
    stage.#server.listen(0, '127.0.0.1');
    await once(stage.#server, 'listening');
    stage.#url = `http://${options.host ?? '127.0.0.1'}:${String((stage.#server.address() as AddressInfo).port)}`;
    stage.#serve();
    return stage;
  }

  get issuer(): string {
    return this.#url;
  }

  /** Registers another address of the console. */
  set consoleUrl(url: string) {
    this.#options.consoleUrl = url;
    this.#serve();
  }

  /** The settings of Latchkey for this provider. */
  get environment(): Record<string, string> {
    return {
      STAFF_OIDC_ISSUER: this.#url,
      STAFF_OIDC_NAME: 'Company Login',
      STAFF_OIDC_CLIENT_ID: CLIENT_ID,
      STAFF_OIDC_CLIENT_SECRET: this.clientSecret,
      STAFF_OIDC_ROLES: 'g-admins=admin,g-ops=operator,g-eyes=viewer',
    };
  }

  /** Changes the registration of Latchkey. */
  set client(fields: Record<string, unknown>) {
    this.#client = fields;
    this.#serve();
  }

  /** Replaces the signing key. The old one is no longer published. */
  rotate(): void {
    this.key = newKey();
    this.#serve();
  }

  /** Restarts the provider without anything that it remembers, also its sessions. */
  #serve(): void {
    const provider = new Provider(this.#url, this.#configuration());
    provider.use(async (context: KoaContextWithOIDC, next: () => Promise<void>) => {
      if (context.path.startsWith('/interaction/')) await this.#interact(provider, context);
      else await next();
      await this.#change(context);
    });
    this.#handle = (request, response) => void provider.callback()(request, response);
  }

  #configuration(): Configuration {
    const { consoleUrl } = this.#options;
    return {
      clients: [
        {
          client_id: CLIENT_ID,
          client_secret: this.clientSecret,
          redirect_uris: [`${consoleUrl}/admin/session/oidc/callback`],
          post_logout_redirect_uris: [`${consoleUrl}/console/`],
          backchannel_logout_uri: `${consoleUrl}/admin/session/oidc/backchannel-logout`,
          backchannel_logout_session_required: true,
          token_endpoint_auth_method: 'client_secret_post',
          ...this.#client,
        },
      ],
      clientDefaults: { id_token_signed_response_alg: 'ES256' },
      jwks: {
        keys: [{ ...this.key.privateKey.export({ format: 'jwk' }), kid: this.key.kid, alg: 'ES256', use: 'sig' }],
      },
      cookies: { keys: [randomBytes(16).toString('hex')] },
      claims: { openid: ['sub', 'groups', '_claim_names', '_claim_sources'], email: ['email'], profile: ['name'] },
      conformIdTokenClaims: !this.inIdToken,
      pkce: { required: () => true },
      features: {
        devInteractions: { enabled: false },
        backchannelLogout: { enabled: true },
        rpInitiatedLogout: { enabled: true },
      },
      interactions: { url: (_, { uid }) => `/interaction/${uid}` },
      findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub, ...this.people.get(sub) }) }),
      loadExistingGrant: async ({ oidc }) => {
        const { provider, client: asking, session } = oidc;
        const grant = new provider.Grant({ clientId: asking?.clientId ?? '', accountId: session?.accountId ?? '' });
        grant.addOIDCScope('openid email profile');
        await grant.save();
        return grant;
      },
      // Without the dispatcher, which refuses addresses of this machine.
      fetch: (url, init) =>
        fetch(
          new URL(url instanceof Request ? url.url : url).href.replace(
            consoleUrl,
            this.#options.reach?.() ?? consoleUrl,
          ),
          {
            ...init,
            dispatcher: undefined,
          } as RequestInit,
        ),
    };
  }

  /** Signs `person` in, or shows the page that asks for a name. `cancel` is the name of somebody who does not want to. */
  async #interact(provider: Provider, context: KoaContextWithOIDC): Promise<void> {
    let { person } = this;
    if (person === undefined && context.method === 'POST') {
      const chunks: Buffer[] = [];
      for await (const chunk of context.req) chunks.push(chunk as Buffer);
      person = new URLSearchParams(Buffer.concat(chunks).toString()).get('person') ?? '';
    }
    if (person === undefined) {
      context.type = 'html';
      context.body = PAGE;
      return;
    }
    const result =
      person === 'cancel'
        ? { error: 'access_denied' }
        : { login: { accountId: person, ts: Math.floor(Date.now() / 1000) } };
    context.redirect(await provider.interactionResult(context.req, context.res, result));
  }

  async #change(context: KoaContextWithOIDC): Promise<void> {
    const body = context.body as Record<string, unknown> | undefined;
    if (context.path === '/.well-known/openid-configuration') Object.assign(body ?? {}, this.metadata);
    if (context.path !== '/token' || typeof body?.['id_token'] !== 'string') return;
    for (const token of ['id_token', 'access_token']) secret(body[token] as string);
    if (!this.forge) return;
    const token = body['id_token'];
    const header: Record<string, unknown> = { ...decodeProtectedHeader(token) };
    const parts = { header, claims: { ...decodeJwt(token) }, key: this.key.privateKey };
    body['id_token'] = await signToken(this.forge(parts));
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** The cookies of one site, as a browser keeps them. */
export class CookieJar {
  readonly #cookies = new Map<string, string>();

  get header(): string {
    return [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  }

  take(headers: Headers): void {
    for (const line of headers.getSetCookie()) {
      const [pair = '', ...attributes] = line.split('; ');
      const name = pair.slice(0, pair.indexOf('='));
      const value = pair.slice(name.length + 1);
      const isOver = attributes.some((text) => /^(Max-Age=0|expires=Thu, 01 Jan 1970)/i.test(text));
      if (isOver || value === '') this.#cookies.delete(name);
      else this.#cookies.set(name, value);
    }
  }
}
