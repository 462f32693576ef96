/** The ETag of a resource version (RFC 9110 §8.8.3). */
export const etagOf = (version: number): string => `"${String(version)}"`;

/**
 * Reads If-Match. Only strong tags can match (RFC 9110 §13.1.1); any other value matches nothing.
 *
 * @param header the header's value; absent accepts every version
 * @returns whether a version satisfies it
 */
export function ifMatch(header: string | undefined): (version: number) => boolean {
  if (header === undefined || header.trim() === '*') return () => true;
  const tags = new Set(header.split(',').map((tag) => tag.trim()));
  return (version) => tags.has(etagOf(version));
}
