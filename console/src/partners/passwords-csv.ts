import type { ImportAnswer } from './partner-api.ts';

/** A cell that no spreadsheet takes for a formula. */
const cell = (value: string | number): string => {
  const text = String(value);
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};

/** Generated passwords as a file (RFC 4180). */
export const passwordsCsv = (credentials: ImportAnswer['credentials']): string =>
  [
    ['row', 'username', 'id', 'fingerprint', 'password'],
    ...credentials.map(({ row, username, id, fingerprint, password }) => [row, username, id, fingerprint, password]),
  ]
    .map((line) => `${line.map(cell).join(',')}\r\n`)
    .join('');
