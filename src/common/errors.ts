/** What an error says to the outside; everything else about it stays in the log. */
export interface PublicError {
  /** HTTP status. */
  status: number;
  /** `module.reason`, stable: clients may branch on it. */
  code: string;
  /** One sentence for the person who reads the answer. */
  detail: string;
  /** Extra response headers. */
  headers?: Record<string, string>;
  /** For input: which field breaks which rules. */
  errors?: FieldError[];
  /** Further members of the problem document (RFC 9457 §3.2). */
  extension?: Record<string, unknown>;
}

export interface FieldError {
  /** Path of the field, as in `scopes.0`; empty for the body as a whole. */
  field: string;
  messages: string[];
}

/**
 * The one error class of Latchkey. Features derive their own from it; only the filter makes HTTP of them.
 * `cause` is private: it is logged and never sent.
 */
export class AppError extends Error {
  readonly status: number;
  readonly code: string;
  readonly headers: Record<string, string>;
  readonly errors: FieldError[] | undefined;
  readonly extension: Record<string, unknown>;

  constructor(error: PublicError, cause?: unknown) {
    super(error.detail, cause === undefined ? undefined : { cause });
    this.status = error.status;
    this.code = error.code;
    this.headers = error.headers ?? {};
    this.errors = error.errors;
    this.extension = error.extension ?? {};
  }
}

/** 400 with a list of fields. */
export class InvalidInputError extends AppError {
  constructor(errors: FieldError[], detail = 'The request is not valid.') {
    super({ status: 400, code: 'request.invalid', detail, errors });
  }
}

/** 503: something Latchkey depends on cannot answer now. `Retry-After` is in seconds. */
export class UnavailableError extends AppError {
  constructor(cause?: unknown, retryAfter = 2) {
    super(
      {
        status: 503,
        code: 'service.unavailable',
        detail: 'The service cannot answer right now. Try again shortly.',
        headers: { 'retry-after': String(retryAfter) },
      },
      cause,
    );
  }
}

/** 404: there is no such thing, or it is not for who asks. Nobody can tell which. */
export class ResourceNotFoundError extends AppError {
  /** @param type as in `@Granted()` */
  constructor(type: string) {
    super({ status: 404, code: 'resource.not-found', detail: `There is no such ${type.replaceAll('-', ' ')}.` });
  }
}
