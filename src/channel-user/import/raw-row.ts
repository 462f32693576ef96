import type { FieldError } from '../../platform/common/errors.ts';
import { columnsWhere } from './columns.ts';

/** Characters of one row. The longest valid row has about half as many. */
export const MAX_ROW_LENGTH = 64 * 1024;
const MAX_QUOTED = 40;

/** A row as read from the file: an object with unchecked fields, or the error that made it unreadable. */
export type RawRow = { readonly row: number } & (
  { readonly fields: object; readonly error?: never } | { readonly fields?: never; readonly error: FieldError }
);

/** Fields whose values an error may quote. Other fields may hold secrets, including those with unknown names. */
const TOLD: ReadonlySet<string> = columnsWhere(({ form }) => form !== 'lines');

/** Adds the value that was found to the errors of a row. */
export const withFound = (errors: readonly FieldError[], fields: object): FieldError[] =>
  errors.map(({ field, messages }) => {
    const value: unknown = TOLD.has(field) ? (fields as Record<string, unknown>)[field] : undefined;
    if (value === undefined) return { field, messages };
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    return { field, messages: messages.map((message, i) => (i === 0 ? `${message}; found ${quoted(text)}` : message)) };
  });

/** A part of a file, shortened and quoted for an error message. */
export const quoted = (text: string): string =>
  JSON.stringify(text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED)}…` : text);
