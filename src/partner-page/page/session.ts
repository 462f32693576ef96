import { noResponse, problemOf, SignedOutError } from './problem.ts';
import type { Granted } from './token.ts';

/** A session ends after this time without a touch, a key or the wheel, in milliseconds. */
const IDLE_MS = 30 * 60_000;
/** How often the session looks for its end, in milliseconds. A suspended computer lets longer timers run late. */
const WATCH_MS = 5_000;
/** Latchkey answers within 5 seconds. A proxy may take longer. */
const TIMEOUT_MS = 30_000;

/** Asks for the password again. Resolves once the same person has signed in. */
export type Renew = (session: Session) => Promise<Granted>;

/**
 * A signed-in partner. Its calls wait while the person has to sign in again, so that nothing is lost when the token
 * ends in between.
 */
export class Session {
  #granted: Granted | undefined;
  #renewal: Promise<void> | undefined;
  #usedAt = Date.now();
  readonly #end = new AbortController();

  constructor(
    readonly username: string,
    granted: Granted,
    private readonly renew: Renew,
  ) {
    this.#granted = granted;
    const use = (): void => {
      this.#usedAt = Date.now();
    };
    const watch = (): void => {
      if (Date.now() - this.#usedAt >= IDLE_MS || this.#isExpired()) this.#lock();
    };
    const timer = setInterval(watch, WATCH_MS);
    const { signal } = this.#end;
    for (const event of ['pointerdown', 'keydown', 'wheel']) addEventListener(event, use, { signal, capture: true });
    document.addEventListener('visibilitychange', watch, { signal });
    signal.addEventListener('abort', () => {
      clearInterval(timer);
    });
  }

  /** Aborted when the person signs out or leaves the page. */
  get ended(): AbortSignal {
    return this.#end.signal;
  }

  /** Forgets the token and ends what is under way. */
  end(): void {
    this.#granted = undefined;
    this.#end.abort();
  }

  /**
   * Calls the API. A call that is refused because the token has ended is made again after the person has signed in.
   *
   * @throws Problem, SignedOutError
   */
  async ask<T>(method: string, path: string, json?: object): Promise<T> {
    for (;;) {
      const { token } = await this.#valid();
      const response = await this.#send(token, method, path, json);
      if (response.status === 401) this.#drop(token);
      else if (!response.ok) throw await problemOf(response);
      else return (response.status === 204 ? undefined : await response.json()) as T;
    }
  }

  async #send(token: string, method: string, path: string, json: object | undefined): Promise<Response> {
    const response = await fetch(path, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(json && { 'content-type': 'application/json' }) },
      ...(json && { body: JSON.stringify(json) }),
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
      signal: AbortSignal.any([this.ended, AbortSignal.timeout(TIMEOUT_MS)]),
    }).catch(() => undefined);
    if (this.ended.aborted) throw new SignedOutError();
    if (!response) throw noResponse();
    return response;
  }

  #isExpired(): boolean {
    return this.#granted !== undefined && this.#granted.expiresAt <= Date.now();
  }

  async #valid(): Promise<Granted> {
    if (this.#isExpired()) this.#lock();
    while (!this.#granted) {
      if (this.ended.aborted) throw new SignedOutError();
      await this.#renewal;
    }
    return this.#granted;
  }

  /** After a refusal. Meanwhile, the person may have signed in again. */
  #drop(token: string): void {
    if (this.#granted?.token === token) this.#lock();
  }

  /** Forgets the token and asks for the password again. */
  #lock(): void {
    this.#granted = undefined;
    this.#renewal ??= this.renew(this)
      .then((granted) => {
        this.#granted = granted;
        this.#usedAt = Date.now();
      })
      .finally(() => {
        this.#renewal = undefined;
      });
    // Whoever waits for the token sees the failure.
    this.#renewal.catch(() => undefined);
  }
}
