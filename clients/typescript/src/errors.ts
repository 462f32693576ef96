/** Whatever goes wrong in a call, unless the caller's own signal ended it. */
export abstract class LatchkeyError extends Error {
  override get name(): string {
    return this.constructor.name;
  }
}

/** Nothing that can be understood came back: no connection, no answer in time, or a broken one. See `cause`. */
export class ConnectionError extends LatchkeyError {}

/** What an answer said that is no success. */
export interface Refusal {
  readonly status: number;
  /** The `Error-Code` of `/generateToken` or the `code` of a problem document: stable, branch on this. */
  readonly code: string;
  readonly detail: string;
  /** Names the request in the log of the platform: say it when you ask for help. */
  readonly requestId: string | undefined;
  /** What `Retry-After` says, if anything. */
  readonly retryAfterSeconds: number | undefined;
  /** What is wrong with which field of the input. */
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

/** A call was answered with a status that is no success. */
export class ApiError extends RefusedError {}
