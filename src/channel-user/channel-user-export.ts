import { csvLines } from '../platform/common/csv.ts';
import { defused } from '../platform/common/formula.ts';
import type { ChannelUserDto } from './channel-user.dto.ts';
import { FILE_COLUMNS, type FileColumn, isFreeText } from './channel-user-fields.ts';

export const EXPORT_FORMATS = ['csv', 'ndjson'] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

/** The names of the columns, all of which an import accepts. */
const NAMES = FILE_COLUMNS.map(({ name }) => name);

const textOf = (value: string | number | boolean | Date | readonly string[] | null): string => {
  if (value === null) return '';
  if (value instanceof Date) return value.toISOString();
  return Array.isArray(value) ? value.join(' ') : String(value);
};

/** The text of a CSV cell. Only free text can hold a formula, so only free text is defused. */
function cell(channelUser: ChannelUserDto, column: FileColumn): string {
  const text = textOf(channelUser[column.name]);
  return isFreeText(column) ? defused(text) : text;
}

interface Format {
  readonly type: string;
  readonly header: string;
  readonly lines: (channelUsers: readonly ChannelUserDto[]) => string;
}

/** The export formats. An import reads every value back exactly. */
export const FORMATS: Record<ExportFormat, Format> = {
  // RFC 4180, with spaces between the entries of a list.
  csv: {
    type: 'text/csv; charset=utf-8',
    header: csvLines([NAMES]),
    lines: (channelUsers) => csvLines(channelUsers.map((each) => FILE_COLUMNS.map((column) => cell(each, column)))),
  },
  ndjson: {
    type: 'application/x-ndjson',
    header: '',
    lines: (channelUsers) => channelUsers.map((each) => `${JSON.stringify(each, NAMES)}\n`).join(''),
  },
};
