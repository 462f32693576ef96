import { AppError, type FieldError } from '../common/errors.ts';

/** The file as a whole cannot be read, from a row on or from its start. */
export class UnreadableFileError extends AppError {
  /** @param row where, if it is known */
  constructor(message: string, row?: number) {
    super({
      status: 400,
      code: 'import.unreadable',
      detail: 'The file cannot be read. Nothing was imported.',
      errors: [{ field: row === undefined ? '' : `rows.${String(row)}`, messages: [message] }],
    });
  }
}

/** Rows break rules, and all were to be imported or none. */
export class ImportRefusedError extends AppError {
  /** @param errors the first of them */
  constructor(id: string, counts: { rows: number; failed: number; errorCount: number }, errors: FieldError[]) {
    super({
      status: 400,
      code: 'import.refused',
      detail: 'Rows of the file are not valid. Nothing was imported.',
      errors,
      extension: { id, ...counts },
    });
  }
}

export class ImportRunningError extends AppError {
  constructor() {
    super({ status: 409, code: 'import.running', detail: 'Another import runs. There is one at a time.' });
  }
}

export class ImportIdTakenError extends AppError {
  constructor() {
    super({
      status: 409,
      code: 'import.id-taken',
      detail: 'There has been an import with this id.',
      errors: [{ field: 'id', messages: ['is taken'] }],
    });
  }
}

export class ImportNotFoundError extends AppError {
  constructor() {
    super({ status: 404, code: 'import.not-found', detail: 'There is no such import.' });
  }
}
