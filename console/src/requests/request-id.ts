const ID = /(?<![0-9a-f-])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-f-])/gi;

/**
 * Finds the request id in a text as people paste it, such as `X-Request-Id: 3F8F…`.
 *
 * @returns undefined if the text has none, or several
 */
export function requestIdIn(text: string): string | undefined {
  const [id, ...others] = new Set(text.toLowerCase().match(ID));
  return others.length === 0 ? id : undefined;
}
