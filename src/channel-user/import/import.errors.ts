import { AppError, type FieldError } from '../../platform/common/errors.ts';

/** The file cannot be read, from its start or from a certain row. */
export class UnreadableFileError extends AppError {
  /** @param row the row of the problem, if it is known */
  constructor(message: string, row?: number) {
    super({
      status: 400,
      code: 'import.unreadable',
      detail: 'The file cannot be read. Nothing was imported.',
      errors: [{ field: row === undefined ? '' : `rows.${String(row)}`, messages: [message] }],
    });
  }
}

/** Rows are invalid, and the import was to take all rows or none. */
export class ImportRefusedError extends AppError {
  /** @param errors the first errors */
  constructor(id: string, counts: { rows: number; failed: number; errorCount: number }, errors: FieldError[]) {
    super({
      status: 400,
      code: 'import.refused',
      detail: 'Some rows have errors. Nothing was imported. Correct these rows and send the file again.',
      errors,
      extension: { id, ...counts },
    });
  }
}

/** The running import, for the error that asks the next one to wait. */
export interface RunningImport {
  readonly id: string;
  readonly startedAt: Date;
  readonly lastHeardAt: Date;
  /** When the import counts as dead without a further heartbeat. */
  readonly freeAt: Date;
  /** Seconds until `freeAt`. */
  readonly seconds: number;
}

const timeOf = (date: Date): string => `${date.toISOString().slice(0, 19)}Z`;

export class ImportRunningError extends AppError {
  constructor({ id, startedAt, lastHeardAt, freeAt, seconds }: RunningImport) {
    super({
      status: 409,
      code: 'import.running',
      detail:
        `Another import has been running since ${timeOf(startedAt)}, and only one can run at a time. Its server ` +
        `last reported at ${timeOf(lastHeardAt)}. If it does not report again, the next import can start at ` +
        `${timeOf(freeAt)}, in ${String(seconds)} seconds.`,
      headers: { 'retry-after': String(seconds) },
      extension: { running: { id, startedAt, lastHeardAt, freeAt } },
    });
  }
}

/** An admin ended the import while it ran. */
export class ImportEndedError extends AppError {
  constructor() {
    super({ status: 409, code: 'import.ended', detail: 'An admin ended this import. Nothing was imported.' });
  }
}

export class ImportOverError extends AppError {
  constructor(state: string) {
    super({ status: 409, code: 'import.over', detail: `This import is not running: its state is ${state}.` });
  }
}

/** The upload took too long. */
export class UploadTooLongError extends AppError {
  constructor(minutes: number) {
    super({
      status: 408,
      code: 'request.timeout',
      detail:
        `Reading the file took more than ${String(minutes)} minutes. Nothing was imported. Split the file, send ` +
        'hashes instead of passwords, or import it on the command line, which has no time limit.',
    });
  }
}

/** The import ended because the database or the instance failed. */
export class ImportInterruptedError extends AppError {
  /** @param isKnown whether it is certain that nothing was imported; false if the database failed during the commit */
  constructor(id: string, isKnown: boolean, cause?: unknown) {
    super(
      {
        status: 503,
        code: 'import.interrupted',
        detail: isKnown
          ? 'The database or this server failed during the import. Nothing was imported. Send the file again.'
          : `The database failed. Check import ${id}: unless its state is imported, nothing was imported and you ` +
            'can send the file again.',
        extension: { id },
        headers: { 'retry-after': '30' },
      },
      cause,
    );
  }
}

export class ImportIdTakenError extends AppError {
  constructor() {
    super({
      status: 409,
      code: 'import.id-taken',
      detail: 'An import with this id exists already. Choose another id.',
      errors: [{ field: 'id', messages: ['is taken'] }],
    });
  }
}

export class ImportNotFoundError extends AppError {
  constructor() {
    super({ status: 404, code: 'import.not-found', detail: 'There is no such import.' });
  }
}
