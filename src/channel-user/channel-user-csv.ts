import type { ChannelUserDto } from './channel-user.dto.ts';

const COLUMNS = [
  'username',
  'displayName',
  'contactEmail',
  'status',
  'scopes',
  'tokenTtlSeconds',
  'tokensPerMinute',
  'allowedIps',
  'expiresAt',
  'createdAt',
  'lastTokenAt',
  'notes',
] as const satisfies (keyof ChannelUserDto)[];

/** A spreadsheet takes a cell that starts so for a formula. */
const FORMULA = /^[=+\-@\t\r]/;

const textOf = (value: string | number | Date | readonly string[] | null): string => {
  if (value === null) return '';
  if (value instanceof Date) return value.toISOString();
  return Array.isArray(value) ? value.join(' ') : String(value);
};

function cell(value: string | number | Date | readonly string[] | null): string {
  const text = textOf(value);
  const safe = FORMULA.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** The first line (RFC 4180). */
export const CSV_HEADER = `${COLUMNS.join(',')}\r\n`;

/** A channel user as a line; lists are separated by spaces, and no cell is a formula. */
export const csvLine = (channelUser: ChannelUserDto): string =>
  `${COLUMNS.map((column) => cell(channelUser[column])).join(',')}\r\n`;
