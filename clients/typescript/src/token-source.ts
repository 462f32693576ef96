import { ConnectionError, TokenRefusedError } from './errors.ts';
import { limit, orAborted, retryAfterSeconds, waitBefore } from './waiting.ts';

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** Credentials, or a function that looks them up each time a token is needed, for example in a secret store. */
export type CredentialSource = Credentials | (() => Credentials | Promise<Credentials>);

export interface TokenSourceOptions {
  readonly url: URL;
  readonly fetch: typeof fetch;
  readonly timeoutMs: number;
  readonly attempts: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** From 0 to 1. */
  readonly random: () => number;
}

/** A token and its lifetime. Times are in milliseconds since the epoch. */
export interface HeldToken {
  readonly token: string;
  readonly expiresAt: number;
  /** The time from which the next token is fetched, while this one is still used. */
  readonly refreshAt: number;
  /** After a failed refresh, the earliest time of the next one. */
  retryAt: number;
}

/** A token request in progress. */
interface Fetching {
  promise: Promise<HeldToken>;
  /** The number of callers that wait for it. Without any, it does not keep the process alive. */
  waiting: number;
  /** The wait until the next attempt. */
  timer?: ReturnType<typeof setTimeout>;
}

/** Shares of a token's life between which the next is fetched, at random, so that processes do not all refresh at once. */
const REFRESH_FROM = 0.75;
const REFRESH_UNTIL = 0.9;
/** Milliseconds. A token with less time left is not sent, because it might expire on the way. */
const TOO_OLD_MS = 2_000;
/** Milliseconds before refused credentials are sent again, because each attempt counts as a failure. */
const REFUSED_MS = 30_000;
/** Milliseconds after a failed refresh, while the current token still works. */
const REFRESH_AGAIN_MS = 10_000;
/** Milliseconds before another 401 fetches a new token again, since a fresh token would not help. */
const RENEW_AGAIN_MS = 10_000;

const same = (a: Credentials, b: Credentials): boolean => a.username === b.username && a.password === b.password;

/** Keeps one token fresh. Concurrent callers share one request. */
export class TokenSource {
  #source: CredentialSource;
  #held: HeldToken | undefined;
  #fetching: Fetching | undefined;
  #refused:
    { readonly credentials: Credentials; readonly error: TokenRefusedError; readonly until: number } | undefined;
  #renewedAt = -Infinity;
  /** Counts changes of the credentials. A token of earlier credentials that arrives late is discarded. */
  #version = 0;
  readonly #options: TokenSourceOptions;

  constructor(source: CredentialSource, options: TokenSourceOptions) {
    this.#source = source;
    this.#options = options;
  }

  /** Replaces the credentials. The current token stays in use until it expires or is refused. */
  replaceCredentials(source: CredentialSource): void {
    this.#source = source;
    this.#refused = undefined;
    this.#fetching = undefined;
    if (this.#held) this.#held.retryAt = -Infinity;
    this.#version++;
  }

  /**
   * @returns a token that is good for a while
   * @throws TokenRefusedError, ConnectionError, or the signal's reason
   */
  async get(signal?: AbortSignal | null): Promise<HeldToken> {
    signal?.throwIfAborted();
    const now = this.#options.now();
    const held = this.#held;
    if (held && now < held.expiresAt - TOO_OLD_MS) {
      if (now >= held.refreshAt) this.refresh(held);
      return held;
    }
    return this.#waitFor(this.#fetch(), signal);
  }

  /** The present credentials. */
  async credentials(): Promise<Credentials> {
    return typeof this.#source === 'function' ? this.#source() : this.#source;
  }

  /**
   * Signs in with a new password and uses it from now on. A function is asked again for each later token. If the new
   * password is refused, the credentials stay as they were; if no answer arrives, the new ones are used all the same.
   *
   * @throws TokenRefusedError, ConnectionError, or the signal's reason
   */
  async change(credentials: Credentials, signal?: AbortSignal): Promise<void> {
    const source = this.#source;
    this.replaceCredentials(credentials);
    let isRefused = false;
    try {
      await this.#waitFor(this.#fetch(), signal);
    } catch (error) {
      isRefused = error instanceof TokenRefusedError && error.code === 'invalid_credentials';
      throw error;
    } finally {
      // Unless the credentials have been replaced once more.
      if (this.#source === credentials) {
        if (isRefused) this.replaceCredentials(source);
        else if (typeof source === 'function') this.#source = source;
      }
    }
  }

  async #waitFor(fetching: Fetching, signal?: AbortSignal | null): Promise<HeldToken> {
    fetching.waiting++;
    fetching.timer?.ref();
    try {
      return await orAborted(fetching.promise, signal);
    } finally {
      if (--fetching.waiting === 0) fetching.timer?.unref();
    }
  }

  /** Fetches the next token while this one is still used. */
  refresh(held: HeldToken): void {
    const now = this.#options.now();
    if (this.#held !== held || this.#fetching || now < held.retryAt) return;
    this.#rest(held);
    this.#fetch().promise.catch(() => undefined);
  }

  /**
   * Must be called when a call with this token got 401.
   *
   * @returns whether it may be made once more, with another token
   */
  isReplaced(held: HeldToken): boolean {
    if (this.#held !== held) return true;
    const now = this.#options.now();
    if (now - this.#renewedAt < RENEW_AGAIN_MS) return false;
    this.#renewedAt = now;
    this.#held = undefined;
    return true;
  }

  /** After a failed refresh, the next call must not try again at once. */
  #rest(held: HeldToken, seconds = 0): void {
    const { now, random } = this.#options;
    held.retryAt = now() + Math.max(REFRESH_AGAIN_MS * (1 + random()), seconds * 1000 * (1 + random() / 5));
  }

  #fetch(): Fetching {
    if (this.#fetching) return this.#fetching;
    const fetching = { waiting: 0 } as Fetching;
    fetching.promise = this.#obtain(this.#version, fetching).finally(() => {
      if (this.#fetching === fetching) this.#fetching = undefined;
    });
    this.#fetching = fetching;
    return fetching;
  }

  async #obtain(version: number, fetching: Fetching): Promise<HeldToken> {
    const { now, random, attempts } = this.#options;
    const credentials = await this.credentials();
    if (this.#refused && now() < this.#refused.until && same(this.#refused.credentials, credentials)) {
      throw this.#refused.error;
    }
    for (let attempt = 1; ; attempt++) {
      let failure: TokenRefusedError | ConnectionError;
      try {
        const held = await this.#ask(credentials);
        if (version === this.#version) {
          this.#held = held;
          this.#refused = undefined;
        }
        return held;
      } catch (error) {
        if (!(error instanceof TokenRefusedError) && !(error instanceof ConnectionError)) throw error;
        failure = error;
      }
      const refusal = failure instanceof TokenRefusedError ? failure : undefined;
      const isTemporary = !refusal || refusal.status === 429 || refusal.status >= 500;
      const mayTryAgain = isTemporary && attempt < attempts;
      const ms = mayTryAgain ? waitBefore(attempt, refusal?.retryAfterSeconds, random()) : undefined;
      if (ms === undefined) {
        this.#giveUp(version, credentials, failure, isTemporary);
        throw failure;
      }
      await new Promise((resolve) => {
        fetching.timer = setTimeout(resolve, ms);
        if (fetching.waiting === 0) fetching.timer.unref();
      });
    }
  }

  #giveUp(version: number, credentials: Credentials, error: TokenRefusedError | ConnectionError, isTemporary: boolean) {
    if (version !== this.#version) return;
    const seconds = error instanceof TokenRefusedError ? error.retryAfterSeconds : undefined;
    if (this.#held) this.#rest(this.#held, seconds);
    // Callers would not wait that long, and would get this error for each call until then.
    const isFinal = !isTemporary || waitBefore(1, seconds, 0) === undefined;
    if (isFinal && error instanceof TokenRefusedError) {
      this.#refused = { credentials, error, until: this.#options.now() + REFUSED_MS };
    }
  }

  async #ask({ username, password }: Credentials): Promise<HeldToken> {
    const { url, timeoutMs, now, random } = this.#options;
    let response: Response;
    let text: string;
    const askedAt = now();
    const { signal, release } = limit(timeoutMs);
    try {
      response = await this.#options.fetch(url, {
        method: 'POST',
        headers: { accept: 'text/plain', 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({ Username: username, Password: password }).toString(),
        // The credentials must not follow a redirect.
        redirect: 'error',
        signal,
      });
      text = await response.text();
    } catch (error) {
      throw new ConnectionError('The client got no token.', { cause: error });
    } finally {
      release();
    }
    if (response.status !== 200) {
      throw new TokenRefusedError({
        status: response.status,
        code: response.headers.get('error-code') ?? 'unexpected_answer',
        detail: text.slice(0, 200),
        requestId: response.headers.get('x-request-id') ?? undefined,
        retryAfterSeconds: retryAfterSeconds(response.headers, now()),
      });
    }
    const seconds = Number(response.headers.get('token-expires-in'));
    if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(text) || !(seconds > 0)) {
      throw new ConnectionError('The response is not a token. Check that baseUrl is the address of Latchkey.');
    }
    const life = seconds * 1000;
    return {
      token: text,
      expiresAt: askedAt + life,
      refreshAt: askedAt + life * (REFRESH_FROM + (REFRESH_UNTIL - REFRESH_FROM) * random()),
      retryAt: -Infinity,
    };
  }
}
