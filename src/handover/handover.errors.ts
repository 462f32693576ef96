import { AppError } from '../common/errors.ts';

/** The same for a link that never was, was used, has expired or was revoked: who has none of them learns nothing. */
export class HandoverGoneError extends AppError {
  constructor() {
    super({
      status: 410,
      code: 'handover.gone',
      detail: 'This link does not work, or no longer. Ask your contact for a new one.',
    });
  }
}

export class TooManyRevealsError extends AppError {
  /** @param retryAfter in seconds */
  constructor(retryAfter: number) {
    super({
      status: 429,
      code: 'handover.too-many-attempts',
      detail: 'Too many links from your address did not work. Wait before the next attempt.',
      headers: { 'retry-after': String(retryAfter) },
    });
  }
}

export class HandoverNotFoundError extends AppError {
  constructor() {
    super({ status: 404, code: 'handover.not-found', detail: 'This channel user has no such hand-over link.' });
  }
}

/** As the channel users' own: that module needs this one, so this one must not need it in turn. */
export class HandoverOfNobodyError extends AppError {
  constructor() {
    super({ status: 404, code: 'channel-user.not-found', detail: 'There is no such channel user.' });
  }
}

export class AlreadyRevealedError extends AppError {
  constructor() {
    super({
      status: 409,
      code: 'handover.already-revealed',
      detail: 'The password was revealed already. Revoke the credential to end it.',
    });
  }
}
