import type { FieldError } from '../common/errors.ts';

const MAX_KEPT = 1_000;
/** A field that nobody knows is called as the file calls it. */
const MAX_NAME = 64;

/** What is wrong with the rows of a file: everything is counted, and the first of it kept. */
export class RowErrors {
  readonly kept: FieldError[] = [];
  /** Errors. */
  count = 0;
  /** Rows that have any. */
  failed = 0;

  add(row: number, errors: readonly FieldError[]): void {
    this.failed++;
    for (const { field, messages } of errors) {
      this.count++;
      if (this.kept.length >= MAX_KEPT) continue;
      this.kept.push({
        field: field === '' ? `rows.${String(row)}` : `rows.${String(row)}.${field.slice(0, MAX_NAME)}`,
        messages,
      });
    }
  }
}
