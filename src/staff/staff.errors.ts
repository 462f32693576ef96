import { AppError, InvalidInputError } from '../common/errors.ts';

export class StaffNotFoundError extends AppError {
  constructor() {
    super({ status: 404, code: 'staff.not-found', detail: 'There is no such staff member.' });
  }
}

export class EmailTakenError extends AppError {
  constructor(cause: unknown) {
    super(
      {
        status: 409,
        code: 'staff.email-taken',
        detail: 'A staff member with this e-mail address exists already.',
        errors: [{ field: 'email', messages: ['is taken'] }],
      },
      cause,
    );
  }
}

export class LastAdminError extends AppError {
  constructor() {
    super({
      status: 409,
      code: 'staff.last-admin',
      detail: 'This is the last admin, who can be neither removed nor demoted. Make somebody else admin first.',
    });
  }
}

/** A sign-in that is refused with 401. All of them leave at the common moment. */
export abstract class SignInRefusedError extends AppError {
  constructor(code: string, detail: string) {
    super({ status: 401, code, detail, headers: { 'www-authenticate': 'Bearer realm="latchkey"' } });
  }
}

export class InvalidStaffCredentialsError extends SignInRefusedError {
  constructor() {
    super('session.invalid-credentials', 'E-mail or password are not right.');
  }
}

/** Asked for after a right password only. */
export class CodeRequiredError extends SignInRefusedError {
  constructor() {
    super('session.code-required', 'Send the code of your authenticator, or a recovery code, as well.');
  }
}

export class InvalidCodeError extends SignInRefusedError {
  constructor() {
    super('session.invalid-code', 'The code is not right, or it was used before. Wait for the next one.');
  }
}

export class TotpLockedError extends SignInRefusedError {
  constructor() {
    super(
      'session.totp-locked',
      'Too many wrong codes were tried by somebody who knows your password. Sign in with a recovery code and change ' +
        'your password, or ask an admin to reset both.',
    );
  }
}

/** The code that should confirm a second factor. */
export class WrongCodeError extends AppError {
  constructor() {
    super({
      status: 400,
      code: 'session.wrong-code',
      detail: 'The code is not right. Is the clock of the authenticator?',
      errors: [{ field: 'code', messages: ['is not the current code of the authenticator'] }],
    });
  }
}

export class NoPendingSecondFactorError extends AppError {
  constructor() {
    super({
      status: 409,
      code: 'session.no-pending-second-factor',
      detail: 'There is no second factor to confirm. Ask for a secret first.',
    });
  }
}

export class NoSecondFactorError extends AppError {
  constructor() {
    super({ status: 409, code: 'session.no-second-factor', detail: 'You have no second factor.' });
  }
}

export class SecondFactorRequiredError extends AppError {
  constructor() {
    super({
      status: 409,
      code: 'session.second-factor-required',
      detail: 'A second factor is required of everybody here: yours can be replaced, not turned off.',
    });
  }
}

export class WrongPasswordError extends InvalidInputError {
  constructor() {
    super([{ field: 'currentPassword', messages: ['is not your password'] }], 'The current password is not right.');
  }
}

/** A cookie came along with a request that another site may have caused. */
export class CrossSiteError extends AppError {
  constructor() {
    super({
      status: 403,
      code: 'session.cross-site',
      detail: 'A request with the session cookie must carry the Origin of this server.',
    });
  }
}

/** Right passwords are refused as well while a wait is on. */
export class TooManyAttemptsError extends AppError {
  /** @param retryAfter in seconds */
  constructor(retryAfter: number) {
    super({
      status: 429,
      code: 'session.too-many-attempts',
      detail: 'Too many attempts. Wait before the next one.',
      headers: { 'retry-after': String(retryAfter) },
    });
  }
}
