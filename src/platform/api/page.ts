import { InvalidInputError } from '../common/errors.ts';

/** Items in a page when the client gives no `limit`. */
export const DEFAULT_PAGE = 50;
/** Items in the longest page that a client may ask for. */
export const MAX_PAGE = 200;

/** One page of a list; `nextCursor` is `null` on the last one. */
export interface Page<T> {
  items: T[];
  nextCursor: string | null;
}

/** A cursor is the sort key of the last row seen, so that pages cost the same wherever they start. */
export type CursorKey = readonly (string | null)[];

/**
 * @param sort the order the cursor belongs to; a cursor of another order is refused
 * @param key the sort key of the page's last row
 */
export function encodeCursor(sort: string, key: CursorKey): string {
  return Buffer.from(JSON.stringify([sort, ...key])).toString('base64url');
}

/**
 * @param cursor what {@link encodeCursor} made
 * @param parts what each part of the key must satisfy
 * @throws InvalidInputError when the cursor was not made for this list and order
 */
export function decodeCursor(cursor: string, sort: string, parts: readonly ((text: string) => boolean)[]): string[] {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    if (Array.isArray(parsed) && parsed[0] === sort && parsed.length === parts.length + 1) {
      const key = parsed.slice(1) as unknown[];
      if (key.every((part, i): part is string => typeof part === 'string' && parts[i]?.(part) === true)) {
        return key;
      }
    }
  } catch {
    // Falls through, since every malformed cursor is the same error.
  }
  throw new InvalidInputError([
    { field: 'cursor', messages: ['must be a nextCursor from this list with the same sort order'] },
  ]);
}

/**
 * Drops the row that was read beyond the page, and makes the cursor from the last row kept.
 *
 * @param rows up to `limit + 1` rows
 */
export function pageOf<Row>(rows: Row[], limit: number, cursorOf: (row: Row) => string): Page<Row> {
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  return { items, nextCursor: rows.length > limit && last !== undefined ? cursorOf(last) : null };
}

/** Whether a text is a timestamp as `toISOString()` writes it: in UTC and with milliseconds. */
export function isTimestamp(text: string): boolean {
  const date = new Date(text);
  return !Number.isNaN(date.getTime()) && date.toISOString() === text;
}
