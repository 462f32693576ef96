/** Any error of a call, unless the caller's signal aborted it. */
export abstract class LatchkeyError extends Error {
  override get name(): string {
    return this.constructor.name;
  }
}

/** There was no usable response: no connection, no response in time, or an incomplete one. See `cause`. */
export class ConnectionError extends LatchkeyError {}

/** The details of an error response. */
export interface Refusal {
  readonly status: number;
  /** The `Error-Code` of `/generateToken` or the `code` of a problem document: stable, branch on this. */
  readonly code: string;
  readonly detail: string;
  /** Identifies the request in the platform's log. Quote it when you ask for help. */
  readonly requestId: string | undefined;
  /** The value of `Retry-After`, if any. */
  readonly retryAfterSeconds: number | undefined;
  /** The problems of the input, by field. */
  readonly errors?: readonly { field: string; messages: string[] }[];
}

abstract class RefusedError extends LatchkeyError implements Refusal {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly requestId: string | undefined;
  readonly retryAfterSeconds: number | undefined;
  readonly errors?: readonly { field: string; messages: string[] }[];

  constructor({ status, code, detail, requestId, retryAfterSeconds, errors }: Refusal) {
    super(`${String(status)} ${code}: ${detail}`);
    this.status = status;
    this.code = code;
    this.detail = detail;
    this.requestId = requestId;
    this.retryAfterSeconds = retryAfterSeconds;
    if (errors) this.errors = errors;
  }
}

/**
 * `/generateToken` gives no token. 401 `invalid_credentials`: wrong or revoked password; 403 `account_suspended`,
 * `account_expired`, `credential_expired`: ask your contact; 429 and 503: later, as `retryAfterSeconds` says.
 */
export class TokenRefusedError extends RefusedError {}

/** A call got an error status. */
export class ApiError extends RefusedError {}
