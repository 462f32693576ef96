import { csvRows } from './csv-rows.ts';
import { textOf } from './file-text.ts';
import { UnreadableFileError } from './import.errors.ts';
import { MAX_ROW_LENGTH, type RawRow } from './raw-row.ts';

export const FORMATS = ['csv', 'ndjson'] as const;
export type Format = (typeof FORMATS)[number];

/** Rows of a file with one JSON object per line. */
async function* ndjsonRows(text: AsyncIterable<string>): AsyncGenerator<RawRow> {
  let row = 0;
  let rest = '';
  let hasRows = false;
  for await (const chunk of text) {
    // A carriage return at the end of a chunk may be the first half of a line end.
    const lines = (rest + chunk).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    for (const line of lines) {
      row++;
      if (line.length > MAX_ROW_LENGTH) throw tooLong(row, line, hasRows);
      if (line.trim() === '') continue;
      yield ndjsonRow(line, row, hasRows);
      hasRows = true;
    }
    if (rest.length > MAX_ROW_LENGTH) throw tooLong(row + 1, rest, hasRows);
  }
  if (rest.trim() !== '') yield ndjsonRow(rest, row + 1, hasRows);
}

const ARRAY =
  'begins with "[", so it is a JSON array. NDJSON has one object a line, without commas between them; `jq -c ' +
  '".[]" partners.json > partners.ndjson` converts an array';

const isArrayStart = (line: string, hasRows: boolean): boolean => !hasRows && line.trimStart().startsWith('[');

const tooLong = (row: number, line: string, hasRows: boolean): UnreadableFileError =>
  new UnreadableFileError(
    isArrayStart(line, hasRows) ? ARRAY : `has more than ${String(MAX_ROW_LENGTH)} characters`,
    row,
  );

/** @throws UnreadableFileError when the line starts a JSON array */
function ndjsonRow(line: string, row: number, hasRows: boolean): RawRow {
  let value: unknown;
  let problem = 'must be a JSON object on one line';
  try {
    value = JSON.parse(line);
  } catch {
    problem = 'must be a JSON object on one line; found text that is not JSON';
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { row, fields: value };
  // An empty array is treated like any other line that is not an object.
  if (isArrayStart(line, hasRows) && (!Array.isArray(value) || value.length > 0))
    throw new UnreadableFileError(ARRAY, row);
  return { row, error: { field: '', messages: [problem] } };
}

/**
 * Reads the rows of a file as it arrives, with no more of the file in memory than one chunk and one row.
 *
 * @throws UnreadableFileError
 */
export const rowsOf = (bytes: AsyncIterable<Uint8Array>, format: Format): AsyncGenerator<RawRow> =>
  (format === 'csv' ? csvRows : ndjsonRows)(textOf(bytes));
