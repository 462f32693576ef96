import { AppError, InvalidInputError } from '../platform/common/errors.ts';

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
      detail:
        'This is the last admin who can sign in without the identity provider, and cannot be removed or demoted. Make ' +
        'somebody else an admin first.',
    });
  }
}

/** The identity provider decides on this, so that Latchkey cannot change it. */
export class SignsInAtProviderError extends AppError {
  constructor(what: string) {
    super({
      status: 409,
      code: 'staff.signs-in-at-provider',
      detail: `The identity provider decides on the ${what} of this account. Change it there.`,
    });
  }
}

export class IdentityTakenError extends AppError {
  constructor(cause: unknown) {
    super(
      {
        status: 409,
        code: 'staff.identity-taken',
        detail: 'Another account signs in with this identity. Remove that account, or detach the identity from it.',
      },
      cause,
    );
  }
}

export class NoIdentityError extends AppError {
  constructor() {
    super({
      status: 409,
      code: 'staff.no-identity',
      detail: 'This account signs in with a password and has no identity to detach.',
    });
  }
}

export class BreakGlassAdminOnlyError extends AppError {
  constructor() {
    super({
      status: 409,
      code: 'staff.break-glass-admin-only',
      detail: 'Only an admin who signs in with a password can have a break-glass account.',
    });
  }
}

export class TooManyBreakGlassError extends AppError {
  constructor(max: number) {
    super({
      status: 409,
      code: 'staff.too-many-break-glass',
      detail: `There are ${String(max)} break-glass accounts already. Make one of them an ordinary account first.`,
    });
  }
}

export class LocalSignInNeedsSsoError extends AppError {
  constructor() {
    super({
      status: 409,
      code: 'settings.single-sign-on-first',
      detail:
        'Passwords can be restricted to break-glass accounts only by an admin who has signed in at the identity ' +
        'provider, so that it is sure to work. Sign in there first.',
    });
  }
}

export class NoBreakGlassError extends AppError {
  constructor() {
    super({
      status: 409,
      code: 'settings.no-break-glass',
      detail:
        'No break-glass admin has a second factor. Set up such an account first: it is the way in if all else fails.',
    });
  }
}

/** A sign-in that is refused, after the delay that all refusals share. */
export abstract class SignInRefusedError extends AppError {
  constructor(code: string, detail: string, status: 401 | 403 = 401) {
    super({
      status,
      code,
      detail,
      ...(status === 401 && { headers: { 'www-authenticate': 'Bearer realm="latchkey"' } }),
    });
  }
}

/** The password is right, and only break-glass accounts may sign in with one. */
export class LocalSignInOffError extends SignInRefusedError {
  constructor() {
    super(
      'session.local-sign-in-off',
      'Your password is right, but staff sign in at the identity provider here. Passwords work for break-glass accounts only.',
      403,
    );
  }
}

export class InvalidStaffCredentialsError extends SignInRefusedError {
  constructor() {
    super('session.invalid-credentials', 'The e-mail or the password is wrong.');
  }
}

/** Only a right password is asked for a code. */
export class CodeRequiredError extends SignInRefusedError {
  constructor() {
    super('session.code-required', 'Send a code from your authenticator, or a recovery code, as well.');
  }
}

export class InvalidCodeError extends SignInRefusedError {
  constructor() {
    super('session.invalid-code', 'The code is wrong or was used before. Wait for the next one.');
  }
}

export class TotpLockedError extends SignInRefusedError {
  constructor() {
    super(
      'session.totp-locked',
      'Somebody who knows your password tried too many wrong codes. Sign in with a recovery code and change ' +
        'your password, or ask an admin to reset both.',
    );
  }
}

/** The code that should confirm a new second factor is wrong. */
export class WrongCodeError extends AppError {
  constructor() {
    super({
      status: 400,
      code: 'session.wrong-code',
      detail: 'The code is wrong. Check the clock of the device with your authenticator.',
      errors: [{ field: 'code', messages: ['must be the current code from the authenticator'] }],
    });
  }
}

export class NoPendingSecondFactorError extends AppError {
  constructor() {
    super({
      status: 409,
      code: 'session.no-pending-second-factor',
      detail: 'There is no second factor to confirm. Request a secret first.',
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
      detail:
        'All staff, or all break-glass accounts, must have a second factor. You can replace yours, but not turn it off.',
    });
  }
}

export class WrongPasswordError extends InvalidInputError {
  constructor() {
    super([{ field: 'currentPassword', messages: ['is not your password'] }], 'The current password is wrong.');
  }
}

/** Characters of an Origin header that the message quotes. The longest host name has 253. */
const MAX_ORIGIN = 270;

/** A request with the session cookie may come from another site. */
export class CrossSiteError extends AppError {
  /**
   * @param origin the request's Origin header
   * @param expected the accepted origins
   */
  constructor(origin: string | undefined, expected: readonly string[]) {
    const said = origin === undefined ? 'had no Origin header' : `came from “${origin.slice(0, MAX_ORIGIN)}”`;
    super({
      status: 403,
      code: 'session.cross-site',
      detail:
        `A change with the session cookie must come from ${expected.join(' or ')}; this request ${said}. ` +
        'Open the console at that address, or make PUBLIC_URL and TRUSTED_PROXIES match the address in the ' +
        'browser.',
    });
  }
}

/** A wait is on, during which right passwords are refused, too. */
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

/** The same for an unknown, used, expired or revoked link, so that guessing reveals nothing. */
export class PasswordLinkGoneError extends AppError {
  constructor() {
    super({
      status: 410,
      code: 'password-link.gone',
      detail: 'This link does not work or no longer works. Ask an admin for a new one.',
    });
  }
}

export class TooManyLinksTriedError extends AppError {
  /** @param retryAfter in seconds */
  constructor(retryAfter: number) {
    super({
      status: 429,
      code: 'password-link.too-many-attempts',
      detail: 'Too many attempts from your address with links that do not work. Wait before the next one.',
      headers: { 'retry-after': String(retryAfter) },
    });
  }
}
