import { AppError, InvalidInputError } from '../../platform/common/errors.ts';

export class InvalidRequestIdError extends InvalidInputError {
  constructor() {
    super([{ field: 'requestId', messages: ['must be a UUID, as the X-Request-Id header of an answer has it'] }]);
  }
}

/** No record of the caller has this request id. Says which requests have one. */
export class RequestNotRecordedError extends AppError {
  /** @param days how long records are kept */
  constructor(days: { readonly signIns: number; readonly errors: number }) {
    super({
      status: 404,
      code: 'request.not-recorded',
      detail:
        'No record has this request id. Successful calls are only counted and have no record. Refused and failed ' +
        `calls are kept for ${String(days.errors)} days, and sign-ins for ${String(days.signIns)}. Of many equal ` +
        'refusals in one minute, only the first have records of their own. A record may follow its answer by a few seconds.',
    });
  }
}
