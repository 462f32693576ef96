/** The part of an error that the client sees. Everything else about the error is only logged. */
export interface PublicError {
  /** HTTP status. */
  status: number;
  /** `module.reason`. Codes stay stable, because clients may branch on them. */
  code: string;
  /** One sentence for the person who reads the answer. */
  detail: string;
  /** Extra response headers. */
  headers?: Record<string, string>;
  /** For invalid input, the fields and the rules that they break. */
  errors?: FieldError[];
  /** Further members of the problem document (RFC 9457 §3.2). */
  extension?: Record<string, unknown>;
}

export interface FieldError {
  /** Path of the field, such as `scopes.0`. Empty for the body as a whole. */
  field: string;
  messages: string[];
}

/**
 * The base class of Latchkey's errors. Features derive their own, and only the error filter turns errors into answers.
 * `cause` is logged and never sent.
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

/** 400 with the invalid fields. */
export class InvalidInputError extends AppError {
  constructor(errors: FieldError[], detail = 'The request is not valid.') {
    super({ status: 400, code: 'request.invalid', detail, errors });
  }
}

/** 503: a service that Latchkey depends on cannot answer now. `Retry-After` is in seconds. */
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

/** 403 for a service account on a route that only people may use, whatever the role of the account. */
export class PersonRequiredError extends AppError {
  constructor() {
    super({
      status: 403,
      code: 'session.person-required',
      detail: 'Service accounts cannot call this. A person with the role must sign in.',
    });
  }
}

/** 404 for a resource that does not exist and for one that the caller may not see. Nobody can tell which. */
export class ResourceNotFoundError extends AppError {
  /** @param type the resource type, as in `@Granted()` */
  constructor(type: string) {
    super({ status: 404, code: 'resource.not-found', detail: `There is no such ${type.replaceAll('-', ' ')}.` });
  }
}
