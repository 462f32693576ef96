import { AppError } from '../../platform/common/errors.ts';
import type { TokenRefusal } from '../../platform/common/token-refusal.ts';

const challenge = (parameters = ''): Record<string, string> => ({
  'www-authenticate': `Bearer realm="latchkey"${parameters}`,
});

/** The request has no token. The challenge then has no error code (RFC 6750 §3). */
export class NoTokenError extends AppError {
  constructor() {
    super({
      status: 401,
      code: 'auth.no-token',
      detail: 'Send a token in the Authorization header: Bearer <token>.',
      headers: challenge(),
    });
  }
}

/** RFC 6750 §3.1 `invalid_token`. */
export class InvalidTokenError extends AppError {
  /**
   * @param detail sent to the client, who may be a thief: it must say only that the token does not work
   * @param refusal whose token it is and why it is refused, if Latchkey signed it. Never sent
   */
  constructor(
    detail = 'The token is not valid.',
    cause?: unknown,
    readonly refusal?: TokenRefusal,
  ) {
    super(
      {
        status: 401,
        code: 'auth.invalid-token',
        detail,
        headers: challenge(`, error="invalid_token", error_description="${detail}"`),
      },
      cause,
    );
  }
}

/** RFC 6750 §3.1 `insufficient_scope`. */
export class InsufficientScopeError extends AppError {
  constructor(scopes: readonly string[]) {
    const scope = scopes.join(' ');
    super({
      status: 403,
      code: 'auth.insufficient-scope',
      detail: `This needs the scope ${scope}.`,
      headers: challenge(`, error="insufficient_scope", scope="${scope}"`),
    });
  }
}

export class TokenIdNotFoundError extends AppError {
  constructor() {
    super({ status: 404, code: 'token.not-found', detail: 'A token id is a UUID. No token has this id.' });
  }
}
