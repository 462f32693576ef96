/** What every key of a service account begins with. Secret scanners recognise it. */
export const KEY_PREFIX = 'lk_sa_';

/** A key, or a part of one that was mistyped or cut off: it may still hold most of the secret. */
const LIKE_A_KEY = /lk_sa_\w+/g;

/** Replaces the keys of service accounts in a text that is logged or stored. */
export const withoutKeys = (text: string): string =>
  text.includes(KEY_PREFIX) ? text.replaceAll(LIKE_A_KEY, `${KEY_PREFIX}[redacted]`) : text;
