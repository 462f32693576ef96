import { AppError, UnavailableError } from '../../platform/common/errors.ts';
import { InvalidTokenError } from '../access-token/access-token.errors.ts';
import type { SignInError } from '../sign-in/sign-in.errors.ts';

/** The password proves nothing. 400, since a 401 would make clients request a new token and try again. */
export class WrongPasswordError extends AppError {
  /** @param expected what the password should have been, such as `an active password of this account` */
  constructor(expected: string, cause?: unknown) {
    super(
      {
        status: 400,
        code: 'credential.wrong-password',
        detail: `The password is not ${expected}.`,
        errors: [{ field: 'password', messages: [`is not ${expected}`] }],
      },
      cause,
    );
  }
}

/** Too many wrong passwords, also those of sign-ins. */
class TooManyPasswordsError extends AppError {
  constructor({ headers }: SignInError) {
    super({
      status: 429,
      code: 'credential.too-many-attempts',
      detail: 'Too many wrong passwords. Wait before the next attempt.',
      headers,
    });
  }
}

/** The problem document of a password that was refused as a sign-in is. */
export function problemOf(error: SignInError, expected: string): AppError {
  switch (error.status) {
    case 429:
      return new TooManyPasswordsError(error);
    case 503:
      return new UnavailableError(error, Number(error.headers['retry-after'] ?? 1));
    case 403:
      // The account was suspended or expired after the guard had let the request in.
      return new InvalidTokenError('The token is no longer valid.', error);
    default:
      return new WrongPasswordError(expected, error);
  }
}

export class SelfServiceOffError extends AppError {
  constructor() {
    super({
      status: 403,
      code: 'credential.self-service-off',
      detail: 'This account may not create passwords by itself. Ask your contact for a new one.',
    });
  }
}

/** Whoever holds a leaked password must not be able to cancel the rotation that ends it. */
export class RotationByStaffError extends AppError {
  constructor() {
    super({
      status: 403,
      code: 'credential.rotation-by-staff',
      detail:
        'You did not begin this rotation. Ask your contact to withdraw it. If the new password has leaked, report it ' +
        '(POST /credentials/report-leaked).',
    });
  }
}

export class LastActiveCredentialError extends AppError {
  constructor() {
    super({
      status: 409,
      code: 'credential.last-active',
      detail:
        'This is the last active password of the account; one that waits for its first use does not count. Sign in ' +
        'with a new one first, or report this one as leaked (POST /credentials/report-leaked).',
    });
  }
}
