import { AppError } from '../platform/common/errors.ts';

/**
 * The personal key of a change's actor or target exists but cannot be decrypted. The key is not replaced, because the
 * key encryption key that opens it may only be missing from this instance.
 */
export class UnreadableKeyError extends AppError {
  constructor(subjectId: string) {
    super({
      status: 500,
      code: 'audit.key-unreadable',
      detail:
        'The change was not made, because the audit trail cannot record it: the personal key of ' +
        `${subjectId} cannot be decrypted. Check KEY_ENCRYPTION_KEY.`,
    });
  }
}

export class UnknownSubjectError extends AppError {
  constructor() {
    super({
      status: 404,
      code: 'audit.unknown-subject',
      detail: 'The audit trail has no personal data under this id.',
    });
  }
}

export class SubjectStillActiveError extends AppError {
  constructor() {
    super({ status: 409, code: 'audit.living-subject', detail: 'The account still exists. Delete it first.' });
  }
}
