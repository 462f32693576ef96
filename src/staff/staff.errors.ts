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

export class InvalidStaffCredentialsError extends AppError {
  constructor() {
    super({
      status: 401,
      code: 'session.invalid-credentials',
      detail: 'E-mail or password are not right.',
      headers: { 'www-authenticate': 'Bearer realm="latchkey"' },
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
