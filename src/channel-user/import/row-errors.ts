import type { FieldError } from '../../platform/common/errors.ts';

const MAX_KEPT = 1_000;
/** Characters of a field's name in an error. An unknown field keeps its name from the file. */
const MAX_NAME = 64;

/** The errors of a file's rows. Counts all of them and keeps the first ones. */
export class RowErrors {
  readonly kept: FieldError[] = [];
  /** Number of errors. */
  count = 0;
  /** Number of rows with an error. */
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
