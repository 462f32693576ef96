import type { FastifyReply, FastifyRequest } from 'fastify';
import { AppError } from '../common/errors.ts';

/** RFC 6749 §5.2, with what a server that throttles and that may be without its database has to say besides. */
type OAuthErrorCode =
  | 'invalid_request'
  | 'invalid_client'
  | 'unsupported_grant_type'
  | 'unauthorized_client'
  | 'invalid_scope'
  | 'too_many_requests'
  | 'temporarily_unavailable'
  | 'server_error';

/** An error of the OAuth endpoints that is not one of signing in. */
export class OAuthError extends AppError {
  /** @param description without quotes and backslashes (RFC 6749 §5.2) */
  constructor(code: 'invalid_request' | 'invalid_client' | 'unsupported_grant_type', description: string) {
    super({ status: code === 'invalid_client' ? 401 : 400, code, detail: description });
  }
}

interface Answer {
  readonly status: number;
  readonly error: OAuthErrorCode;
  readonly description?: string;
}

/** How refusals of the shared sign-in, which have the codes of `/generateToken`, read in OAuth. */
const SIGN_IN_ANSWERS: Record<string, Answer> = {
  invalid_credentials: { status: 401, error: 'invalid_client', description: 'Client authentication failed.' },
  account_suspended: { status: 400, error: 'unauthorized_client', description: 'The account is suspended.' },
  account_expired: { status: 400, error: 'unauthorized_client', description: 'The account has expired.' },
  credential_expired: { status: 400, error: 'unauthorized_client', description: 'The password has expired.' },
  invalid_scope: { status: 400, error: 'invalid_scope', description: 'A scope is unknown or not granted.' },
  too_many_requests: { status: 429, error: 'too_many_requests', description: 'Wait before the next attempt.' },
  invalid_client: { status: 401, error: 'invalid_client' },
  unsupported_grant_type: { status: 400, error: 'unsupported_grant_type' },
};

/** RFC 6749 knows 400 and 401; where HTTP has a status of its own for what happened, that one tells more. */
const ANSWERS_BY_STATUS: Record<number, Answer> = {
  405: { status: 405, error: 'invalid_request' },
  413: { status: 413, error: 'invalid_request' },
  429: { status: 429, error: 'too_many_requests' },
  500: { status: 500, error: 'server_error' },
  503: { status: 503, error: 'temporarily_unavailable' },
};

/** Writes any error of the OAuth endpoints in the form of RFC 6749 §5.2. */
export function renderOAuthError(error: AppError, request: FastifyRequest, reply: FastifyReply): void {
  const answer = SIGN_IN_ANSWERS[error.code] ??
    ANSWERS_BY_STATUS[error.status] ?? { status: 400, error: 'invalid_request' as const };
  request.errorCode = answer.error;
  void reply.status(answer.status).headers({ 'content-type': 'application/json; charset=utf-8', pragma: 'no-cache' });
  // RFC 9110 §15.5.2 asks for it with every 401, RFC 6749 §5.2 when the client used the Authorization header.
  if (answer.status === 401) void reply.header('www-authenticate', 'Basic realm="latchkey", charset="UTF-8"');
  const description = (answer.description ?? error.message).replaceAll(/["\\]/g, "'");
  void reply.send(JSON.stringify({ error: answer.error, error_description: description }));
}

export class TokenIdNotFoundError extends AppError {
  constructor() {
    super({ status: 404, code: 'token.not-found', detail: 'No token has such an id.' });
  }
}
