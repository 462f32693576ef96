import type { FastifyReply, FastifyRequest } from 'fastify';
import { AppError } from '../../platform/common/errors.ts';

/** The codes of RFC 6749 §5.2, and Latchkey's own for throttling and an unavailable database. */
type OAuthErrorCode =
  | 'invalid_request'
  | 'invalid_client'
  | 'unsupported_grant_type'
  | 'unauthorized_client'
  | 'invalid_scope'
  | 'too_many_requests'
  | 'temporarily_unavailable'
  | 'server_error';

/** An error of the OAuth endpoints other than a refused sign-in. */
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

/** The OAuth answers to refused sign-ins, by the error code of `/generateToken`. */
const SIGN_IN_ANSWERS: Record<string, Answer> = {
  invalid_credentials: { status: 401, error: 'invalid_client', description: 'Client authentication failed.' },
  account_suspended: { status: 400, error: 'unauthorized_client', description: 'The account is suspended.' },
  account_expired: { status: 400, error: 'unauthorized_client', description: 'The account has expired.' },
  credential_expired: { status: 400, error: 'unauthorized_client', description: 'The password has expired.' },
  invalid_scope: {
    status: 400,
    error: 'invalid_scope',
    description: 'A requested scope is unknown or not granted to this client.',
  },
  too_many_requests: {
    status: 429,
    error: 'too_many_requests',
    description: 'Too many attempts. Wait before the next one, as Retry-After says.',
  },
  invalid_client: { status: 401, error: 'invalid_client' },
  unsupported_grant_type: { status: 400, error: 'unsupported_grant_type' },
};

/** Answers to other errors by status. RFC 6749 has only 400 and 401; the others are more precise. */
const ANSWERS_BY_STATUS: Record<number, Answer> = {
  405: { status: 405, error: 'invalid_request' },
  413: { status: 413, error: 'invalid_request' },
  429: { status: 429, error: 'too_many_requests' },
  500: { status: 500, error: 'server_error' },
  501: { status: 501, error: 'invalid_request' },
  503: { status: 503, error: 'temporarily_unavailable' },
};

/** Writes any error of the OAuth endpoints in the form of RFC 6749 §5.2. */
export function renderOAuthError(error: AppError, request: FastifyRequest, reply: FastifyReply): void {
  const answer = SIGN_IN_ANSWERS[error.code] ??
    ANSWERS_BY_STATUS[error.status] ?? { status: 400, error: 'invalid_request' as const };
  request.errorCode = answer.error;
  void reply.status(answer.status).headers({ 'content-type': 'application/json; charset=utf-8', pragma: 'no-cache' });
  // RFC 9110 §15.5.2 requires this header with every 401, and RFC 6749 §5.2 after an Authorization header.
  if (answer.status === 401) void reply.header('www-authenticate', 'Basic realm="latchkey", charset="UTF-8"');
  const description = (answer.description ?? error.message).replaceAll(/["\\]/g, "'");
  void reply.send(JSON.stringify({ error: answer.error, error_description: description }));
}
