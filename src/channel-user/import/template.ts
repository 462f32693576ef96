import { csvLines } from '../../platform/common/csv.ts';
import { FILE_COLUMNS } from '../channel-user-fields.ts';
import { TEMPLATE_COLUMNS } from './columns.ts';

/** The values of a fictitious partner, by column. */
const EXAMPLES = new Map<string, string>(FILE_COLUMNS.map(({ name, example = '' }) => [name, example]));

/** A file to fill in. Its byte order mark makes spreadsheets read and save it as UTF-8. */
export const TEMPLATE = `\uFEFF${csvLines([
  TEMPLATE_COLUMNS,
  TEMPLATE_COLUMNS.map((column) => EXAMPLES.get(column) ?? ''),
])}`;
