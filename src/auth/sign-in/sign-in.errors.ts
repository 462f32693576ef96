import type { FastifyReply, FastifyRequest } from 'fastify';
import { prefersJson } from '../../platform/http/content-negotiation.ts';
import { AppError } from '../../platform/common/errors.ts';

const INVALID = 'invalid username or password';
const EXPIRED = 'token expired';

/** The fixed answers of `/generateToken` (contract §2), by `Error-Code`: status and text. */
const SIGN_IN_ANSWERS = {
  invalid_credentials: [401, INVALID],
  account_suspended: [403, EXPIRED],
  account_expired: [403, EXPIRED],
  credential_expired: [403, EXPIRED],
  malformed_request: [400, INVALID],
  credentials_in_url: [400, INVALID],
  unsupported_content_type: [415, 'unsupported content type'],
  request_too_large: [413, 'request too large'],
  /** Only `/oauth2/token` takes scopes. */
  invalid_scope: [400, INVALID],
  method_not_allowed: [405, 'method not allowed'],
  too_many_requests: [429, 'too many requests'],
  not_implemented: [501, 'not implemented'],
  service_unavailable: [503, 'service unavailable'],
  server_error: [500, 'internal server error'],
} as const satisfies Record<string, readonly [number, string]>;

export type SignInErrorCode = keyof typeof SIGN_IN_ANSWERS;

/** Why a sign-in did not lead to a token. */
export class SignInError extends AppError {
  constructor(
    readonly errorCode: SignInErrorCode,
    headers: Record<string, string> = {},
    /** What is wrong with the request. Only JSON answers show it, since the text of plain answers is fixed. */
    readonly hint?: string,
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
  501: 'not_implemented',
  503: 'service_unavailable',
};

/** Writes any error of `/generateToken` in its fixed form: text, or JSON for a client that prefers JSON. */
export function renderSignInError(error: AppError, request: FastifyRequest, reply: FastifyReply): void {
  const known =
    error instanceof SignInError
      ? error
      : new SignInError(
          CODE_OF_STATUS[error.status] ?? 'malformed_request',
          {},
          // A hint does not help the client with a failure of the server.
          error.status < 500 || error.status === 501 ? error.message : undefined,
        );
  request.errorCode = known.errorCode;
  void reply.status(known.status).header('error-code', known.errorCode);
  if (prefersJson(request.headers.accept)) {
    const body = { error: known.errorCode, error_description: known.hint ?? known.message };
    void reply.type('application/json; charset=utf-8').send(JSON.stringify(body));
  } else {
    void reply.type('text/plain; charset=utf-8').send(known.message);
  }
}
