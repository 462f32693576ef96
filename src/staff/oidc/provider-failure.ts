/** Whether the provider could not be reached or answered 5xx, rather than with something that is wrong. */
export function isOutage(error: unknown): boolean {
  const { code, status, name, cause } = error as { code?: unknown; status?: unknown; name?: unknown; cause?: unknown };
  const { status: ofResponse } = (cause ?? {}) as { status?: unknown };
  if ([status, ofResponse].some((found) => typeof found === 'number' && found >= 500)) return true;
  // fetch() throws a TypeError without a code when a connection fails.
  if (name === 'TimeoutError' || name === 'AbortError' || (name === 'TypeError' && code === undefined)) return true;
  return code === 'OAUTH_TIMEOUT' || code === 'OAUTH_ABORT' || code === 'ERR_JWKS_TIMEOUT';
}

/** An error with only the code and text of this one. Its cause may have tokens, and its properties the whole answer. */
export function withoutDetails(error: unknown): Error {
  const { code, message, error: oauthCode, cause } = error as Record<string, unknown>;
  const inner = cause instanceof Error && cause.message !== message ? `: ${cause.message.slice(0, 200)}` : '';
  const codes = [code, oauthCode].filter((text) => typeof text === 'string' && /^[\w-]{1,64}$/.test(text));
  return new Error(`${[...codes, String(message).slice(0, 200)].join(' ')}${inner}`);
}
