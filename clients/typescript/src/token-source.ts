import { ConnectionError, TokenRefusedError } from './errors.ts';
import { limit, orAborted, retryAfterSeconds, waitBefore } from './waiting.ts';

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** Credentials, or where they are looked up each time a token is needed: a secret store, a file that is rotated. */
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

/** A token with what is known about its life; times in milliseconds since the epoch. */
export interface HeldToken {
  readonly token: string;
  readonly expiresAt: number;
  /** From then on a newer one is fetched, while this one is still used. */
  readonly refreshAt: number;
  /** After a refresh that failed not before that, whoever says that one is due. */
  retryAt: number;
}

/** A token on its way. */
interface Fetching {
  promise: Promise<HeldToken>;
  /** How many wait for it. A refresh that nobody waits for does not keep the process alive. */
  waiting: number;
  /** Until the next attempt. */
  timer?: ReturnType<typeof setTimeout>;
}

/** A new token is fetched somewhere between these parts of its life: many processes do not come at once. */
const REFRESH_FROM = 0.75;
const REFRESH_UNTIL = 0.9;
/** A token with less than this left is not sent any more: it might expire on the way. */
const TOO_OLD_MS = 2_000;
/** Credentials that were refused are not tried again before that: each try counts as a failure. */
const REFUSED_MS = 30_000;
/** A refresh that failed while the token is still good. */
const REFRESH_AGAIN_MS = 10_000;
/** One answer of 401 fetches a new token, and the next ones not before this: a fresh token is no better. */
const RENEW_AGAIN_MS = 10_000;

const same = (a: Credentials, b: Credentials): boolean => a.username === b.username && a.password === b.password;

/** Keeps one token fresh. Whoever asks while one is fetched shares it. */
export class TokenSource {
  #source: CredentialSource;
  #held: HeldToken | undefined;
  #fetching: Fetching | undefined;
  #refused:
    { readonly credentials: Credentials; readonly error: TokenRefusedError; readonly until: number } | undefined;
  #renewedAt = -Infinity;
  /** Counts the sets of credentials: a token of older ones that arrives late is not kept. */
  #version = 0;
  readonly #options: TokenSourceOptions;

  constructor(source: CredentialSource, options: TokenSourceOptions) {
    this.#source = source;
    this.#options = options;
  }

  /** From now on these. The token is kept: it lives as long as it would have, or until it is refused. */
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
    const fetching = this.#fetch();
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
   * A call with this token was answered 401.
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

  /** Should a refresh fail, the next try is not the next call's. */
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
    const credentials = typeof this.#source === 'function' ? await this.#source() : this.#source;
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
    // What is longer than anybody waits would be the answer to each call until then.
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
        // Credentials are posted to nobody else.
        redirect: 'error',
        signal,
      });
      text = await response.text();
    } catch (error) {
      throw new ConnectionError('No token could be fetched.', { cause: error });
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
      throw new ConnectionError('What was answered is no token. Is the address that of Latchkey?');
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
