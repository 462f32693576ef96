/** Characters of an Accept header. No client needs more, so longer headers are ignored. */
const MAX_LENGTH = 2_048;

/**
 * The weight of a media type in an Accept header. The most specific matching range decides (RFC 9110 §12.5.1). Own code,
 * since negotiator would not match the range `application/json; charset=utf-8`, which clients send.
 */
function weightOf(accept: string, type: string): number {
  const [group = ''] = type.split('/');
  let specificity = -1;
  let weight = 0;
  for (const part of accept.split(',')) {
    const [range = '', ...parameters] = part.split(';').map((piece) => piece.trim().toLowerCase());
    const rank = range === type ? 2 : range === `${group}/*` ? 1 : range === '*/*' ? 0 : -1;
    if (rank <= specificity) continue;
    specificity = rank;
    const quality = parameters.find((parameter) => parameter.startsWith('q='));
    weight = quality === undefined ? 1 : Number(quality.slice(2)) || 0;
  }
  return weight;
}

/**
 * Whether to answer with JSON: only for a client that accepts JSON and not text.
 *
 * @param accept the Accept header, if there is one
 */
export function prefersJson(accept: string | undefined): boolean {
  if (accept === undefined || accept === '*/*' || accept.length > MAX_LENGTH) return false;
  return weightOf(accept, 'text/plain') === 0 && weightOf(accept, 'application/json') > 0;
}
