import { Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { Config } from '../platform/config/config.ts';
import { isForwardedHttps, isInNetworks } from '../platform/http/client-address.ts';
import { CrossSiteError } from './staff.errors.ts';

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

/** What the session cookie stores, and for how long. */
interface Stored {
  readonly token: string;
  /** Seconds until the session ends. */
  readonly expiresIn: number;
}

/** The console's session cookie, and the addresses from which it counts. */
@Injectable()
export class SessionCookieService {
  readonly #name: string;
  readonly #origins: readonly string[];
  /** The address of the console, unless `ADMIN_PORT` has it and nothing says under which name. */
  readonly #consoleUrl: string;
  readonly #attributes: string;

  constructor(private readonly config: Config) {
    // The name has the port, since browsers share cookies among all ports of a host.
    this.#name = `latchkey_session_${String(config.adminPort ?? config.port)}`;
    this.#consoleUrl = config.adminUrl ?? config.publicUrl;
    this.#origins = [...new Set([config.publicUrl, this.#consoleUrl].map((url) => new URL(url).origin))];
    this.#attributes = `HttpOnly;${this.#consoleUrl.startsWith('https:') ? ' Secure;' : ''}`;
  }

  /** The token of the session cookie, if the request has one. */
  tokenOf(request: FastifyRequest): string | undefined {
    return this.valueOf(request, this.#name);
  }

  /** The value of a cookie of the request. */
  valueOf(request: FastifyRequest, name: string): string | undefined {
    const start = `${name}=`;
    const pairs = request.headers.cookie?.split(/; */) ?? [];
    return pairs.find((pair) => pair.startsWith(start))?.slice(start.length);
  }

  /** @throws CrossSiteError when a request that changes something carries another site's Origin, or none */
  refuseCrossSite(request: FastifyRequest): void {
    if (SAFE_METHODS.has(request.method)) return;
    const { origin } = request.headers;
    const expected = this.#originsOf(request);
    if (origin === undefined || !expected.includes(origin)) throw new CrossSiteError(origin, expected);
  }

  /**
   * The Set-Cookie header that stores a session's token, or deletes it.
   *
   * @param session `undefined` to delete the cookie
   */
  header(session: Stored | undefined): string {
    // A JWT consists of characters that a cookie may hold (RFC 6265 §4.1.1).
    const { token = '', expiresIn = 0 } = session ?? {};
    return `${this.#name}=${token}; Max-Age=${String(expiresIn)}; Path=/admin; ${this.#attributes} SameSite=Strict`;
  }

  /**
   * The Set-Cookie header of another cookie of the console, which also comes back after a visit to another site.
   *
   * @param value characters that a cookie may hold
   */
  laxHeader(name: string, value: string, path: string, seconds: number): string {
    return `${name}=${value}; Max-Age=${String(seconds)}; Path=${path}; ${this.#attributes} SameSite=Lax`;
  }

  /**
   * The origin under which staff reach the staff API, for links that open there. With ADMIN_PORT and without ADMIN_URL,
   * it is taken from the request, since staff may use a host name of their own.
   */
  baseUrlFor(request: FastifyRequest): string {
    if (this.config.adminPort === undefined || this.config.adminUrl !== undefined) return this.#consoleUrl;
    const { origin } = request.headers;
    if (origin !== undefined && this.#originsOf(request).includes(origin)) return origin;
    return ownOrigin(request, this.config.trustedProxies) ?? this.config.publicUrl;
  }

  /** The accepted origins: those of PUBLIC_URL and ADMIN_URL, and the one that this request was sent to. */
  #originsOf(request: FastifyRequest): string[] {
    const own = ownOrigin(request, this.config.trustedProxies);
    return own === undefined || this.#origins.includes(own) ? [...this.#origins] : [...this.#origins, own];
  }
}

/** The origin that a request was sent to, according to its Host header and trusted proxies. */
function ownOrigin({ headers, raw }: FastifyRequest, trustedProxies: Config['trustedProxies']): string | undefined {
  const { remoteAddress } = raw.socket;
  const viaProxy = remoteAddress !== undefined && isInNetworks(remoteAddress, trustedProxies);
  const scheme = viaProxy && isForwardedHttps(headers) ? 'https' : 'http';
  return headers.host === undefined ? undefined : `${scheme}://${headers.host}`;
}
