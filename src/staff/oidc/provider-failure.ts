import { ANSWER_TOO_LONG } from './provider-fetch.ts';

/** Codes of an answer that did not come, or is no key set: `ERR_JOSE_GENERIC` is one of another status than 200. */
const OUTAGES = new Set(['OAUTH_TIMEOUT', 'OAUTH_ABORT', 'ERR_JWKS_TIMEOUT', 'ERR_JOSE_GENERIC', ANSWER_TOO_LONG]);

/** Whether the provider could not be reached or answered 5xx, rather than with something that is wrong. */
export function isOutage(error: unknown): boolean {
  const { code, status, name, cause } = error as { code?: unknown; status?: unknown; name?: unknown; cause?: unknown };
  const { status: ofResponse } = (cause ?? {}) as { status?: unknown };
  if ([status, ofResponse].some((found) => typeof found === 'number' && found >= 500)) return true;
  // fetch() throws a TypeError without a code when a connection fails.
  if (name === 'TimeoutError' || name === 'AbortError' || (name === 'TypeError' && code === undefined)) return true;
  return typeof code === 'string' && OUTAGES.has(code);
}

/** A parser quotes what it could not parse, which may be a token. */
function messageOf(error: unknown): string {
  const { name, message } = (error ?? {}) as { name?: unknown; message?: unknown };
  return name === 'SyntaxError' ? 'not valid JSON' : String(message).slice(0, 200);
}

/** An error with only the code and text of this one. Its cause may have tokens, and its properties the whole answer. */
export function withoutDetails(error: unknown): Error {
  const { code, error: oauthCode, cause } = error as Record<string, unknown>;
  const [message, causeMessage] = [messageOf(error), messageOf(cause)];
  const inner = cause instanceof Error && causeMessage !== message ? `: ${causeMessage}` : '';
  const codes = [code, oauthCode].filter((text) => typeof text === 'string' && /^[\w-]{1,64}$/.test(text));
  return new Error(`${[...codes, message].join(' ')}${inner}`);
}
