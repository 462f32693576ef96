import { CsvError, parse } from 'csv-parse';
import { pipeline, Readable } from 'node:stream';
import type { FieldError } from '../common/errors.ts';
import { UnreadableFileError } from './import.errors.ts';

export const FORMATS = ['csv', 'ndjson'] as const;
export type Format = (typeof FORMATS)[number];

/** Characters of one row: the longest that is valid has about half as many. */
const MAX_ROW_LENGTH = 64 * 1024;
/** Cells of one row. Those that are empty do not count for the parser's own limit. */
const MAX_CELLS = 64;

const COLUMNS = [
  'username',
  'displayName',
  'contactEmail',
  'scopes',
  'tokenTtlSeconds',
  'tokensPerMinute',
  'allowedIps',
  'expiresAt',
  'notes',
  'password',
  'passwordHash',
] as const;
type Column = (typeof COLUMNS)[number];

const LISTS: ReadonlySet<string> = new Set<Column>(['scopes', 'allowedIps']);
const NUMBERS: ReadonlySet<string> = new Set<Column>(['tokenTtlSeconds', 'tokensPerMinute']);

/** A row as it stands in the file: an object whose fields are still to be checked, or why it is none. */
export type RawRow = { readonly row: number } & (
  { readonly fields: object; readonly error?: never } | { readonly fields?: never; readonly error: FieldError }
);

/** @throws UnreadableFileError for bytes that are not UTF-8 */
async function* decoded(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  // A byte order mark at the start is left out.
  const decoder = new TextDecoder('utf-8', { fatal: true });
  try {
    for await (const chunk of bytes) {
      const text = decoder.decode(chunk, { stream: true });
      if (text !== '') yield text;
    }
    // The end of a file may be within a character.
    decoder.decode();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_ENCODING_INVALID_ENCODED_DATA') {
      throw new UnreadableFileError('is not UTF-8');
    }
    throw error;
  }
}

/** A cell as JSON would have it. What is no number stays text, for the rules to refuse. */
function valueOf(column: string, cell: string): unknown {
  if (LISTS.has(column)) return cell.split(' ').filter((entry) => entry !== '');
  return NUMBERS.has(column) && /^-?\d{1,9}(\.\d{1,9})?$/.test(cell) ? Number(cell) : cell;
}

/** @throws UnreadableFileError */
function checkHeader(names: readonly string[], row: number): void {
  for (const [i, name] of names.entries()) {
    if (!(COLUMNS as readonly string[]).includes(name)) {
      throw new UnreadableFileError(`column ${String(i + 1)} is not one of ${COLUMNS.join(', ')}`, row);
    }
    if (names.indexOf(name) !== i) throw new UnreadableFileError(`the column ${name} stands there twice`, row);
  }
  for (const name of ['username', 'displayName'] as const) {
    if (!names.includes(name)) throw new UnreadableFileError(`the column ${name} is missing`, row);
  }
}

/** What the parser has read. */
interface Position {
  readonly records?: number;
  readonly empty_lines?: number;
}

const rowOf = ({ records = 0, empty_lines: empty = 0 }: Position): number => records + empty;

/** RFC 4180 with a line of names. The row of the first partner is 2, as in a spreadsheet. */
async function* csvRows(text: AsyncIterable<string>): AsyncGenerator<RawRow> {
  const parser = parse({
    info: true,
    relax_column_count: true,
    skip_empty_lines: true,
    max_record_size: MAX_ROW_LENGTH,
    cast: (cell, { index, ...position }) => {
      if (index < MAX_CELLS) return cell;
      throw new UnreadableFileError(`has more than ${String(MAX_CELLS)} cells`, rowOf(position) + 1);
    },
  });
  // What fails on the way to the parser ends the parser, and so the loop.
  pipeline(Readable.from(text, { objectMode: false }), parser, () => undefined);
  let names: string[] | undefined;
  try {
    for await (const { record, info } of parser as AsyncIterable<{ record: string[]; info: Position }>) {
      const row = rowOf(info);
      if (!names) {
        checkHeader(record, row);
        names = record;
      } else if (record.length === names.length) {
        const cells = names.map((name, i) => [name, record[i] ?? ''] as const).filter(([, cell]) => cell !== '');
        yield { row, fields: Object.fromEntries(cells.map(([name, cell]) => [name, valueOf(name, cell)])) };
      } else {
        const message = `must have ${String(names.length)} cells, as the first row has`;
        yield { row, error: { field: '', messages: [message] } };
      }
    }
  } catch (error) {
    if (error instanceof CsvError) throw new UnreadableFileError(messageOf(error), rowOf(parser.info) + 1);
    throw error;
  }
  if (!names) throw new UnreadableFileError('there is no line with the names of the columns');
}

/** The parser's own words quote the file. */
const messageOf = ({ code }: CsvError): string =>
  code === 'CSV_MAX_RECORD_SIZE'
    ? `has more than ${String(MAX_ROW_LENGTH)} characters`
    : 'is not CSV: a quotation mark is missing, or stands within a cell that is not quoted';

/** A JSON object a line. */
async function* ndjsonRows(text: AsyncIterable<string>): AsyncGenerator<RawRow> {
  let row = 0;
  let rest = '';
  for await (const chunk of text) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      row++;
      if (line.length > MAX_ROW_LENGTH) throw tooLong(row);
      if (line.trim() !== '') yield ndjsonRow(line, row);
    }
    if (rest.length > MAX_ROW_LENGTH) throw tooLong(row + 1);
  }
  if (rest.trim() !== '') yield ndjsonRow(rest, row + 1);
}

const tooLong = (row: number): UnreadableFileError =>
  new UnreadableFileError(`has more than ${String(MAX_ROW_LENGTH)} characters`, row);

function ndjsonRow(line: string, row: number): RawRow {
  try {
    const fields: unknown = JSON.parse(line);
    if (typeof fields === 'object' && fields !== null && !Array.isArray(fields)) return { row, fields };
  } catch {
    // Said below.
  }
  return { row, error: { field: '', messages: ['must be a JSON object'] } };
}

/**
 * The rows of a file as it arrives, with no more of it in memory than a chunk and a row.
 *
 * @throws UnreadableFileError
 */
export const rowsOf = (bytes: AsyncIterable<Uint8Array>, format: Format): AsyncGenerator<RawRow> =>
  (format === 'csv' ? csvRows : ndjsonRows)(decoded(bytes));
