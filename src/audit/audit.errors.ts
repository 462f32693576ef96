import { AppError } from '../common/errors.ts';

/** The trail cannot be continued where its head says that it ends: no change happens until somebody has looked. */
export class BrokenChainError extends AppError {
  constructor(
    readonly reason: string,
    cause?: unknown,
  ) {
    super(
      { status: 500, code: 'audit.chain-broken', detail: 'The change cannot be recorded, so it was not made.' },
      new Error(`The audit trail cannot be continued: ${reason}`, { cause }),
    );
  }
}

/**
 * The key of somebody whom a change is about, or who makes it, is there and does not open. It is not replaced: it may
 * be under a key encryption key that is missing here.
 */
export class UnreadableKeyError extends AppError {
  constructor(subjectId: string) {
    super({
      status: 500,
      code: 'audit.key-unreadable',
      detail: `The change cannot be recorded, so it was not made: the key of the audit trail for ${subjectId} cannot be read.`,
    });
  }
}

export class UnknownSubjectError extends AppError {
  constructor() {
    super({ status: 404, code: 'audit.unknown-subject', detail: 'The trail keeps nothing personal under this id.' });
  }
}

export class LivingSubjectError extends AppError {
  constructor() {
    super({ status: 409, code: 'audit.living-subject', detail: 'The account still exists. Delete it first.' });
  }
}
