import { FILE_COLUMNS, type FieldName, type FileColumn } from '../channel-user-fields.ts';

export type Column = FieldName | 'password' | 'passwordHash';

const namesOf = (columns: readonly FileColumn[]): FieldName[] => columns.map(({ name }) => name);

/** The columns that people fill in. */
export const TEMPLATE_COLUMNS: readonly Column[] = [
  ...namesOf(FILE_COLUMNS.filter(({ example }) => example !== undefined)),
  'password',
  'passwordHash',
];

/** All columns, including those that only an export has. */
export const COLUMNS: readonly Column[] = [
  ...TEMPLATE_COLUMNS,
  ...namesOf(FILE_COLUMNS.filter(({ example }) => example === undefined)),
];

export const columnsWhere = (is: (column: FileColumn) => boolean): ReadonlySet<Column> =>
  new Set(namesOf(FILE_COLUMNS.filter(is)));
