import { stringify } from 'csv-stringify/sync';

/**
 * Rows as lines of CSV (RFC 4180 §2).
 *
 * @param rows texts of cells; free text that a spreadsheet could take for a formula is defused before
 */
export const csvLines = (rows: readonly (readonly string[])[]): string =>
  // Without the pattern, a line break that is not the delimiter of records would not be quoted.
  stringify([...rows], { record_delimiter: 'windows', quoted_match: /[\r\n]/ });
