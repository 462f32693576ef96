import type { FastifyReply, FastifyRequest } from 'fastify';
import { prefersJson } from '../common/accept.ts';
import { AppError } from '../common/errors.ts';

const INVALID = 'invalid username or password';
const EXPIRED = 'token expired';

/** The fixed answers of `/generateToken` (contract §2): `Error-Code` → status and text. */
const SIGN_IN_ANSWERS = {
  invalid_credentials: [401, INVALID],
  account_suspended: [403, EXPIRED],
  account_expired: [403, EXPIRED],
  credential_expired: [403, EXPIRED],
  malformed_request: [400, INVALID],
  credentials_in_url: [400, INVALID],
  unsupported_content_type: [415, 'unsupported content type'],
  request_too_large: [413, 'request too large'],
  /** Only where scopes can be asked for. */
  invalid_scope: [400, INVALID],
  method_not_allowed: [405, 'method not allowed'],
  too_many_requests: [429, 'too many requests'],
  service_unavailable: [503, 'service unavailable'],
  server_error: [500, 'internal server error'],
} as const satisfies Record<string, readonly [number, string]>;

export type SignInErrorCode = keyof typeof SIGN_IN_ANSWERS;

/** Why a sign-in did not lead to a token. */
export class SignInError extends AppError {
  constructor(
    readonly errorCode: SignInErrorCode,
    headers: Record<string, string> = {},
  ) {
    const [status, detail] = SIGN_IN_ANSWERS[errorCode];
    super({ status, code: errorCode, detail, headers });
  }
}

const CODE_OF_STATUS: Record<number, SignInErrorCode> = {
  405: 'method_not_allowed',
  413: 'request_too_large',
  415: 'unsupported_content_type',
  500: 'server_error',
  503: 'service_unavailable',
};

/** Writes any error of `/generateToken` in its own fixed form: text, or JSON for a client that takes no text. */
export function renderSignInError(error: AppError, request: FastifyRequest, reply: FastifyReply): void {
  const known =
    error instanceof SignInError ? error : new SignInError(CODE_OF_STATUS[error.status] ?? 'malformed_request');
  request.errorCode = known.errorCode;
  void reply.status(known.status).header('error-code', known.errorCode);
  if (prefersJson(request.headers.accept)) {
    const body = { error: known.errorCode, error_description: known.message };
    void reply.type('application/json; charset=utf-8').send(JSON.stringify(body));
  } else {
    void reply.type('text/plain; charset=utf-8').send(known.message);
  }
}

const challenge = (parameters = ''): Record<string, string> => ({
  'www-authenticate': `Bearer realm="latchkey"${parameters}`,
});

/** RFC 6750 §3: without a token there is no error code. */
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
  /** @param detail for the client; it must not tell a thief more than that the token is of no use */
  constructor(detail = 'The token is not valid.', cause?: unknown) {
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

export class WrongPlaneError extends AppError {
  constructor(needed: 'partner' | 'staff') {
    super({ status: 403, code: 'auth.wrong-plane', detail: `This is not open to you: it needs a ${needed} token.` });
  }
}

/** A second factor is required of all staff, and this session is of somebody who has none. */
export class EnrolmentRequiredError extends AppError {
  constructor() {
    super({
      status: 403,
      code: 'session.enrolment-required',
      detail: 'A second factor is required of everybody here. Set yours up first: POST /admin/session/totp.',
    });
  }
}

export class InsufficientRoleError extends AppError {
  constructor(role: string) {
    super({ status: 403, code: 'auth.insufficient-role', detail: `This needs the role ${role}.` });
  }
}
