import type { ImportResult } from './partner-api.ts';

export type Issued = ImportResult['credentials'];

/** Whether the import issued links instead of passwords. */
export const hasLinks = (issued: Issued): boolean => issued[0]?.handoverUrl !== undefined;

/**
 * Generated passwords, or the links that show them, as CSV (RFC 4180). Needs no quoting, since no value can contain a
 * formula, a quotation mark or a comma.
 */
export function issuedCsv(issued: Issued): string {
  const names = hasLinks(issued) ? ['handoverUrl', 'expiresAt'] : ['password'];
  const lines = issued.map(({ row, username, id, fingerprint, password, handoverUrl, expiresAt }) => [
    row,
    username,
    id,
    fingerprint,
    ...(hasLinks(issued) ? [handoverUrl, expiresAt] : [password]),
  ]);
  return [['row', 'username', 'id', 'fingerprint', ...names], ...lines].map((line) => `${line.join(',')}\r\n`).join('');
}
