import { AppError } from '../common/errors.ts';

export class SigningKeyNotFoundError extends AppError {
  constructor() {
    super({ status: 404, code: 'signing-key.not-found', detail: 'There is no such signing key.' });
  }
}

/** The stored keys cannot be read: the start stops with this message. */
export class UnreadableKeyError extends Error {
  constructor(cause: unknown) {
    super(
      'The signing keys in the database cannot be decrypted: KEY_ENCRYPTION_KEY is not the one they were encrypted ' +
        'with, nor is one of KEY_ENCRYPTION_KEYS.',
      { cause },
    );
  }
}
