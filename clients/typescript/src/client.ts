import { ApiError, ConnectionError, TokenRefusedError } from './errors.ts';
import type { components, paths as LatchkeyPaths } from './openapi.ts';
import { type CredentialSource, type HeldToken, TokenSource } from './token-source.ts';
import { limit, retryAfterSeconds, wait, waitBefore } from './waiting.ts';

export { ApiError, ConnectionError, LatchkeyError, type Refusal, TokenRefusedError } from './errors.ts';
export type { Credentials, CredentialSource } from './token-source.ts';

export interface ClientOptions {
  /** The address of Latchkey, such as `https://latchkey.example`. Plain http is allowed only on this machine. */
  readonly baseUrl: string | URL;
  readonly credentials: CredentialSource;
  /** Milliseconds for each attempt. Default: 10,000. */
  readonly timeoutMs?: number;
  /** Maximum number of attempts for a call. Default: 4. */
  readonly attempts?: number;
  /** The `fetch` to send requests with, for example one that uses a proxy. */
  readonly fetch?: typeof fetch;
  /** Milliseconds since the epoch, for tests. */
  readonly now?: () => number;
  /** From 0 to 1, for tests. */
  readonly random?: () => number;
}

export interface RotateOptions {
  /**
   * Stores the new password where the software reads it at its next start. It is awaited before the password is used. If
   * it throws, the old password must still be stored.
   */
  readonly storePassword: (password: string) => unknown;
  /** Distinguishes the password from others, for people. Default: the date. */
  readonly label?: string;
  /** Seconds from the first use of the new password until the others end: one to seven days. Default: 604,800. */
  readonly overlapSeconds?: number;
  readonly signal?: AbortSignal;
}

/** A password that `rotate()` created. */
export type RotatedPassword = Pick<components['schemas']['OwnCredentialDto'], 'id' | 'label' | 'fingerprint'>;

type Method = 'get' | 'put' | 'post' | 'delete' | 'patch';

/** The paths that can be called with a method. */
type PathsWith<Paths, M extends Method> = {
  [P in keyof Paths]: Paths[P] extends Record<M, { responses: unknown }> ? P : never;
}[keyof Paths];

type Operation<Paths, P extends keyof Paths, M extends Method> = Paths[P] extends Record<M, infer O> ? O : never;
type JsonOf<T> = T extends { content: { 'application/json': infer B } }
  ? B
  : T extends { content: { 'text/plain': infer B } }
    ? B
    : undefined;
type Answer<O> = O extends { responses: infer R } ? JsonOf<R[keyof R & (200 | 201 | 204)]> : never;

/** The options of a call, besides its path. */
interface CallOptions<O> {
  readonly path?: O extends { parameters: { path: infer T } } ? T : undefined;
  readonly query?: O extends { parameters: { query?: infer T } } ? T : undefined;
  readonly body?: O extends { requestBody?: { content: { 'application/json': infer T } } } ? T : undefined;
  readonly headers?: Record<string, string>;
  readonly signal?: AbortSignal;
}

/** A response. The caller or the timeout can still abort its body. */
interface Sent {
  readonly response: Response;
  /** The body has arrived. */
  readonly release: () => void;
}

/** Milliseconds since the epoch, by a clock that does not jump when the machine's clock is set. */
const steadyNow = (): number => performance.timeOrigin + performance.now();

/** Idempotent methods (RFC 9110 §9.2.2). */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);

const isLoopback = (hostname: string): boolean => /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname);

/** A stream can be read only once. */
const canRepeat = (body: unknown): boolean =>
  body == null ||
  typeof body === 'string' ||
  body instanceof URLSearchParams ||
  ArrayBuffer.isView(body) ||
  body instanceof ArrayBuffer ||
  body instanceof Blob ||
  body instanceof FormData;

/** @throws TypeError for a value that would lead to another path: a URL swallows `.` and `..`, and nothing is none */
function fill(path: string, values: Readonly<Record<string, string | number | null | undefined>>): string {
  return path.replace(/\{([^{}]+)\}/g, (_, name: string) => {
    const value = String(values[name] ?? '');
    if (['', '.', '..'].includes(value))
      throw new TypeError(`The path parameter ${name} must not be missing, empty, "." or "..": found "${value}"`);
    return encodeURIComponent(value);
  });
}

/** @throws ConnectionError without the parser's words: they may quote what was answered */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new ConnectionError('The response is not JSON.');
  }
}

/**
 * Calls Latchkey and the modules behind its guard as a partner.
 *
 * Holds one token and fetches the next before it ends, once for however many calls wait. Waits as `Retry-After` says
 * on 429 and 503. A 401 fetches a new token at most once, and credentials that were refused rest for half a minute.
 *
 * @typeParam Paths the paths that `call()` knows: `openapi-typescript` makes them of a module's OpenAPI document
 */
export class LatchkeyClient<Paths = LatchkeyPaths> {
  readonly #baseUrl: URL;
  readonly #options: Required<Omit<ClientOptions, 'baseUrl' | 'credentials'>>;
  readonly #tokens: TokenSource;

  /** @throws TypeError when the address is none, or would send the password over a network in the clear */
  constructor({ baseUrl, credentials, ...options }: ClientOptions) {
    this.#baseUrl = new URL(baseUrl);
    if (this.#baseUrl.protocol !== 'https:' && !isLoopback(this.#baseUrl.hostname)) {
      throw new TypeError('baseUrl must be an https URL, because http would send the password unencrypted.');
    }
    if (!this.#baseUrl.pathname.endsWith('/')) this.#baseUrl.pathname += '/';
    this.#options = { timeoutMs: 10_000, attempts: 4, fetch, now: steadyNow, random: Math.random, ...options };
    this.#tokens = new TokenSource(credentials, { ...this.#options, url: new URL('generateToken', this.#baseUrl) });
  }

  /** For a rotation. No call fails in between, since the current token keeps working until the next one is needed. */
  replaceCredentials(credentials: CredentialSource): void {
    this.#tokens.replaceCredentials(credentials);
  }

  /**
   * Replaces the password by a new one, without a moment at which none works:
   *
   * 1. creates a new password, with the present one as the proof;
   * 2. hands it to `storePassword`. If that throws, withdraws the new password; the present one goes on;
   * 3. signs in with the new one, which makes it active. The others end after `overlapSeconds`.
   *
   * If step 3 gets no answer, the new password is used from then on; it is stored, and both work. If the new password is
   * refused because it was withdrawn meanwhile, the old one is stored again and goes on.
   *
   * @throws what `storePassword` throws; AggregateError if the withdrawal after that failed too; ApiError, such as
   *   `credential.rotation-pending`; TokenRefusedError, ConnectionError, or the signal's reason
   */
  async rotate({ storePassword, signal, ...wishes }: RotateOptions): Promise<RotatedPassword> {
    // The paths of a module may leave out Latchkey's own.
    const latchkey = this as unknown as LatchkeyClient;
    const old = await this.#tokens.credentials();
    const { credential } = await latchkey.call('post', '/me/credentials', {
      body: { ...wishes, password: old.password },
      ...(signal && { signal }),
    });
    const { id, label, fingerprint, password } = credential;
    try {
      await storePassword(password);
    } catch (error) {
      await latchkey
        .call('post', '/me/credentials/{id}/withdraw', { path: { id }, body: { password: old.password } })
        .catch((failure: unknown) => {
          throw new AggregateError(
            [error, failure],
            `The new password ${id} could be neither stored nor withdrawn. It ends unless it is used.`,
          );
        });
      throw error;
    }
    try {
      await this.#tokens.change({ username: old.username, password }, signal);
    } catch (error) {
      if (error instanceof TokenRefusedError && error.code === 'invalid_credentials') await storePassword(old.password);
      throw error;
    }
    return { id, label, fingerprint };
  }

  /**
   * A bearer token that will not expire soon, for sending requests without this client.
   *
   * @throws TokenRefusedError, ConnectionError
   */
  async token(signal?: AbortSignal): Promise<string> {
    return (await this.#tokens.get(signal)).token;
  }

  /**
   * Like the global `fetch`, with the token. Resolves with any response, even with a 401 or 503 after all retries.
   *
   * @param path a path below `baseUrl`; the token is sent nowhere else
   * @throws TokenRefusedError, ConnectionError, TypeError, or the reason of `init.signal`
   */
  async fetch(path: string | URL, init: RequestInit = {}): Promise<Response> {
    return (await this.#fetch(path, init)).response;
  }

  async #fetch(path: string | URL, init: RequestInit): Promise<Sent> {
    const url = new URL(typeof path === 'string' ? path.replace(/^\/+/, '') : path, this.#baseUrl);
    if (url.origin !== this.#baseUrl.origin || !url.pathname.startsWith(this.#baseUrl.pathname)) {
      throw new TypeError('The path leads out of baseUrl. The client sends the token only to URLs below baseUrl.');
    }
    const method = (init.method ?? 'GET').toUpperCase();
    const { attempts, now, random } = this.#options;
    const isRepeatable = canRepeat(init.body);
    let isRenewed = false;
    for (let attempt = 1; ; attempt++) {
      const held = await this.#tokens.get(init.signal);
      const mayRepeat = isRepeatable && attempt < attempts;
      let seconds: number | undefined;
      try {
        const sent = await this.#send(url, { ...init, method }, held);
        const { status, headers, body } = sent.response;
        if (headers.get('token-refresh-due') === 'true') this.#tokens.refresh(held);
        seconds = retryAfterSeconds(headers, now());
        // A request that got 429 was not processed. One that got 503 may have been.
        const mayComeLater = status === 429 || (status === 503 && IDEMPOTENT.has(method));
        // Also if this call cannot be repeated, so that the next one does not use the same token.
        const isRefused = status === 401 && !isRenewed && this.#tokens.isReplaced(held) && isRepeatable;
        if (!isRefused && !(mayComeLater && mayRepeat && waitBefore(attempt, seconds, 0) !== undefined)) return sent;
        await body?.cancel();
        sent.release();
        if (isRefused) {
          isRenewed = true;
          continue;
        }
      } catch (error) {
        init.signal?.throwIfAborted();
        if (!mayRepeat || !IDEMPOTENT.has(method)) {
          throw new ConnectionError(`${method} ${url.pathname} got no response.`, { cause: error });
        }
      }
      await wait(waitBefore(attempt, seconds, random()) ?? 0, init.signal);
    }
  }

  /**
   * Calls an operation of the OpenAPI document. Request and response are JSON.
   *
   * @returns the body of the answer
   * @throws ApiError for an error response, TokenRefusedError, ConnectionError, the signal's reason, or
   *   TypeError for a parameter of the path that is missing, empty, `.` or `..`
   */
  async call<M extends Method, P extends PathsWith<Paths, M>>(
    method: M,
    path: P & string,
    options: CallOptions<Operation<Paths, P, M>> = {},
  ): Promise<Answer<Operation<Paths, P, M>>> {
    const filled = fill(path, options.path ?? {});
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(options.query ?? {})) {
      for (const each of Array.isArray(value) ? value : [value])
        if (each !== undefined) query.append(name, String(each));
    }
    const { response, release } = await this.#fetch(query.size > 0 ? `${filled}?${query.toString()}` : filled, {
      method: method.toUpperCase(),
      headers: {
        accept: 'application/json, application/problem+json, text/plain;q=0.5',
        ...(options.body !== undefined && { 'content-type': 'application/json' }),
        ...options.headers,
      },
      ...(options.body !== undefined && { body: JSON.stringify(options.body) }),
      ...(options.signal && { signal: options.signal }),
    });
    let text: string;
    try {
      text = await response.text();
    } catch (error) {
      options.signal?.throwIfAborted();
      throw new ConnectionError('The response is incomplete.', { cause: error });
    } finally {
      release();
    }
    if (!response.ok) throw this.#refusal(response, text);
    const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
    if (response.status === 204 || (text === '' && !isJson)) return undefined as Answer<Operation<Paths, P, M>>;
    return (isJson ? parse(text) : text) as Answer<Operation<Paths, P, M>>;
  }

  async #send(url: URL, init: RequestInit, { token }: HeldToken): Promise<Sent> {
    const headers = new Headers(init.headers);
    headers.set('authorization', `Bearer ${token}`);
    const { signal, release } = limit(this.#options.timeoutMs, init.signal);
    try {
      const response = await this.#options.fetch(url, { ...init, headers, signal });
      if (!response.body) release();
      return { response, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  #refusal({ status, headers }: Response, text: string): ApiError {
    let problem: { code?: unknown; detail?: unknown; errors?: unknown } | null = {};
    try {
      if (headers.get('content-type')?.includes('json') === true) problem = JSON.parse(text) as object | null;
    } catch {
      // The status says enough.
    }
    const { code, detail, errors } = problem ?? {};
    return new ApiError({
      status,
      code: typeof code === 'string' ? code : 'unexpected_answer',
      detail: typeof detail === 'string' ? detail : text.slice(0, 200),
      requestId: headers.get('x-request-id') ?? undefined,
      retryAfterSeconds: retryAfterSeconds(headers, this.#options.now()),
      ...(Array.isArray(errors) && { errors: errors as { field: string; messages: string[] }[] }),
    });
  }
}
