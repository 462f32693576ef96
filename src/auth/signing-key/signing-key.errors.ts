import { OperatorError } from '../../platform/common/operator-error.ts';
import { AppError } from '../../platform/common/errors.ts';

export class SigningKeyNotFoundError extends AppError {
  constructor() {
    super({ status: 404, code: 'signing-key.not-found', detail: 'There is no such signing key.' });
  }
}

/** Verifiers may not have fetched the standby yet. */
export class StandbyTooNewError extends AppError {
  /** @param from when the standby may sign */
  constructor(from: Date) {
    super({
      status: 409,
      code: 'signing-key.standby-too-new',
      detail:
        'The standby key was published less than five minutes ago. Verifiers that have not fetched it yet would ' +
        'refuse ' +
        `the tokens that it signs. Rotate after ${from.toISOString()}, or now with the option "emergency". ` +
        'If a key is compromised, revoke it instead.',
    });
  }
}

/** The stored keys cannot be decrypted. The start ends with this message. */
export class UnreadableKeyError extends OperatorError {
  constructor(cause: unknown) {
    super(
      'The signing keys in the database cannot be decrypted. Set KEY_ENCRYPTION_KEY to the key that encrypted ' +
        'them, or to a list that contains it.',
      { cause },
    );
  }
}
