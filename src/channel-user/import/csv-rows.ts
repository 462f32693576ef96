import { CsvError, parse } from 'csv-parse';
import { pipeline, Readable } from 'node:stream';
import { undefused } from '../../platform/common/formula.ts';
import { isFreeText } from '../channel-user-fields.ts';
import { type Column, COLUMNS, columnsWhere } from './columns.ts';
import { UnreadableFileError } from './import.errors.ts';
import { MAX_ROW_LENGTH, quoted, type RawRow } from './raw-row.ts';

/** Cells of one row. Own limit, since the parser's limit on characters does not count empty cells. */
const MAX_CELLS = 64;

const LISTS = columnsWhere(({ form }) => form === 'list');
const NUMBERS = columnsWhere(({ form }) => form === 'number');
const FLAGS = columnsWhere(({ form }) => form === 'flag');
/** Columns whose cells are not trimmed. */
const EXACT: ReadonlySet<Column> = new Set<Column>([...columnsWhere(isFreeText), 'password']);
/** Columns in which an export defuses formulas with an apostrophe. Earlier versions also did so in usernames. */
const DEFUSED: ReadonlySet<Column> = new Set<Column>([...columnsWhere(isFreeText), 'username']);

const DELIMITERS = [',', ';', '\t', '|'] as const;
const DELIMITER_NAMES: Record<string, string> = { ',': 'commas', ';': 'semicolons', '\t': 'tabs', '|': 'bars' };

/** The normalized name of a column: case, spaces, hyphens and underscores do not matter. */
const keyOf = (name: string): string =>
  name
    .normalize('NFKC')
    .toLowerCase()
    .replaceAll(/[\s_-]+/g, '');
const BY_KEY = new Map<string, Column>(COLUMNS.map((column) => [keyOf(column), column]));

const isBlank = (cell: string): boolean => cell.trim() === '';

/** Converts a cell to its JSON value. Text in a column of numbers or flags stays text, which validation refuses. */
function valueOf(column: Column, cell: string): unknown {
  if (LISTS.has(column)) return cell.split(/\s+/).filter((entry) => entry !== '');
  const text = EXACT.has(column) ? cell : cell.trim();
  if (NUMBERS.has(column) && /^-?\d{1,9}(\.\d{1,9})?$/.test(text)) return Number(text);
  // Spreadsheets write TRUE and FALSE.
  if (FLAGS.has(column) && /^(true|false)$/i.test(text)) return text.toLowerCase() === 'true';
  return DEFUSED.has(column) ? undefused(text) : text;
}

/** @throws UnreadableFileError */
function columnsOf(record: readonly string[], row: number, delimiter: string): Column[] {
  // Spreadsheets append empty cells for columns that were once in use.
  const names = record.slice(0, record.findLastIndex((name) => !isBlank(name)) + 1);
  const columns = names.map((name) => BY_KEY.get(keyOf(name)));
  const unknown = columns.indexOf(undefined);
  if (unknown !== -1) {
    const found = `column ${String(unknown + 1)} is ${quoted(names[unknown] ?? '')}`;
    const known = `which is not one of ${COLUMNS.join(', ')}`;
    const isHeader = columns.some((column) => column !== undefined);
    const hint = isHeader
      ? ''
      : `; the first line must contain the column names, separated by commas, semicolons or tabs`;
    throw new UnreadableFileError(`${found}, ${known}${hint}`, row);
  }
  const known = columns.filter((column) => column !== undefined);
  for (const [i, name] of known.entries()) {
    if (known.indexOf(name) !== i) throw new UnreadableFileError(`the column ${name} occurs twice`, row);
  }
  for (const name of ['username', 'displayName'] as const) {
    if (known.includes(name)) continue;
    const found = `found ${known.join(', ')}, separated by ${DELIMITER_NAMES[delimiter] ?? ''}`;
    throw new UnreadableFileError(`the column ${name} is missing; ${found}`, row);
  }
  return known;
}

interface Opening {
  /** The text without the line that names the separator. */
  readonly text: AsyncGenerator<string>;
  readonly delimiter: string;
}

/** The separator from a line such as `sep=;`, as Excel writes and reads it. */
function separatorOf(line: string): string | undefined {
  const found = /^"?sep=(.)"?$/i.exec(line.trim() === 'sep=' ? line.trimStart() : line.trim())?.[1];
  if (found === undefined) return /^"?sep=/i.test(line.trim()) && line.includes('\t') ? '\t' : undefined;
  if ((DELIMITERS as readonly string[]).includes(found)) return found;
  throw new UnreadableFileError(`the separator is ${quoted(found)}; it must be a comma, a semicolon or a tab`, 1);
}

/** The separator that splits a line into the most known column names. */
function delimiterOf(line: string): string {
  const found = DELIMITERS.map((delimiter) => ({
    delimiter,
    names: line.split(delimiter).filter((name) => BY_KEY.has(keyOf(name.replaceAll('"', '')))).length,
  }));
  return found.reduce((best, each) => (each.names > best.names ? each : best)).delimiter;
}

const indexOf = (text: string, pattern: RegExp, from: number): number => {
  pattern.lastIndex = from;
  return pattern.exec(text)?.index ?? -1;
};

/** Reads the first line that is not blank, and finds the separator in it. */
async function opened(text: AsyncGenerator<string>): Promise<Opening> {
  let start = '';
  let begin = -1;
  for (let end = -1; end === -1 && start.length <= MAX_ROW_LENGTH;) {
    const next = await text.next();
    if (next.done === true) break;
    const from = start.length;
    start += next.value;
    if (begin === -1) begin = indexOf(start, /\S/g, from);
    if (begin !== -1) end = indexOf(start, /[\r\n]/g, Math.max(begin, from));
  }
  const trimmed = start.trimStart();
  if (/^[{[]/.test(trimmed)) {
    const hint = 'send it as NDJSON, one object a line (application/x-ndjson, or a file name that ends in .ndjson)';
    throw new UnreadableFileError(
      `begins with ${quoted(trimmed.charAt(0))} like JSON, not with the column names: ${hint}`,
      1,
    );
  }
  const line = /^[^\r\n]*/.exec(trimmed)?.[0] ?? '';
  const separator = separatorOf(line);
  // Removes the line, since spreadsheets do not count it as a row.
  if (separator !== undefined) start = trimmed.slice(line.length).replace(/^(?:\r\n|\n|\r(?!$))/, '');
  async function* whole(): AsyncGenerator<string> {
    if (separator !== undefined && start === '\r') {
      // The second half of the line end is in the next chunk.
      const next = await text.next();
      start = next.done === true ? '' : next.value.replace(/^\n/, '');
    }
    if (start !== '') yield start;
    yield* text;
  }
  return { text: whole(), delimiter: separator ?? delimiterOf(line) };
}

/** How far the parser has read. */
interface Position {
  readonly records?: number;
  readonly empty_lines?: number;
}

const rowOf = ({ records = 0, empty_lines: empty = 0 }: Position): number => records + empty;

const parserOf = (delimiter: string) =>
  parse({
    info: true,
    delimiter,
    // A file that was joined from several files may have several kinds of line ends.
    record_delimiter: ['\r\n', '\n', '\r'],
    relax_column_count: true,
    skip_empty_lines: true,
    max_record_size: MAX_ROW_LENGTH,
    cast: (cell, { index, ...position }) => {
      if (index < MAX_CELLS) return cell;
      throw new UnreadableFileError(`has more than ${String(MAX_CELLS)} cells`, rowOf(position) + 1);
    },
  });

/** Rows of a CSV file with a header line (RFC 4180). As in a spreadsheet, the first partner is in row 2. */
export async function* csvRows(file: AsyncGenerator<string>): AsyncGenerator<RawRow> {
  const { text, delimiter } = await opened(file);
  const parser = parserOf(delimiter);
  // An error on the way to the parser ends the parser, and thereby the loop below.
  pipeline(Readable.from(text, { objectMode: false }), parser, () => undefined);
  let columns: Column[] | undefined;
  try {
    for await (const { record, info } of parser as AsyncIterable<{ record: string[]; info: Position }>) {
      const row = rowOf(info);
      if (record.every(isBlank)) continue;
      if (columns) yield rawRow(record, columns, row);
      else columns = columnsOf(record, row, delimiter);
    }
  } catch (error) {
    if (error instanceof CsvError) throw new UnreadableFileError(messageOf(error), rowOf(parser.info) + 1);
    throw error;
  }
  if (!columns) throw new UnreadableFileError('the line with the column names is missing');
}

function rawRow(record: readonly string[], columns: readonly Column[], row: number): RawRow {
  const isWhole = record.length >= columns.length && record.slice(columns.length).every(isBlank);
  if (!isWhole) {
    const message = `must have ${String(columns.length)} cells, like the line of column names; found ${String(record.length)}`;
    return { row, error: { field: '', messages: [message] } };
  }
  const cells = columns.map((column, i) => [column, record[i] ?? ''] as const);
  const filled = cells.filter(([column, cell]) => (EXACT.has(column) ? cell !== '' : !isBlank(cell)));
  return { row, fields: Object.fromEntries(filled.map(([column, cell]) => [column, valueOf(column, cell)])) };
}

/** Explains a parser error. The parser's own message is not used, since it quotes the file. */
const messageOf = ({ code }: CsvError): string =>
  code === 'CSV_MAX_RECORD_SIZE'
    ? `has more than ${String(MAX_ROW_LENGTH)} characters`
    : 'is not valid CSV: a closing quotation mark is missing, or an unquoted cell contains one';
