import { stringify } from 'csv-stringify/browser/esm/sync';
import type { ImportResult } from './partner-api.ts';

export type Issued = ImportResult['credentials'];

/** Whether the import issued links instead of passwords. */
export const hasLinks = (issued: Issued): boolean => issued[0]?.handoverUrl !== undefined;

/** Generated passwords, or the links that show them, as CSV (RFC 4180). No value can contain a formula. */
export function issuedCsv(issued: Issued): string {
  const names = hasLinks(issued) ? ['handoverUrl', 'expiresAt'] : ['password'];
  const lines = issued.map(({ row, username, id, fingerprint, password, handoverUrl, expiresAt }) => [
    row,
    username,
    id,
    fingerprint,
    ...(hasLinks(issued) ? [handoverUrl, expiresAt] : [password]),
  ]);
  return stringify([['row', 'username', 'id', 'fingerprint', ...names], ...lines], { record_delimiter: 'windows' });
}
