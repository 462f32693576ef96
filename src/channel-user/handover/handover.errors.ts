import { AppError } from '../../platform/common/errors.ts';

/** The same for an unknown, used, expired or revoked link, so that guessing reveals nothing. */
export class HandoverGoneError extends AppError {
  constructor() {
    super({
      status: 410,
      code: 'handover.gone',
      detail: 'This link does not work or no longer works. Ask your contact for a new one.',
    });
  }
}

export class TooManyRevealsError extends AppError {
  /** @param retryAfter in seconds */
  constructor(retryAfter: number) {
    super({
      status: 429,
      code: 'handover.too-many-attempts',
      detail: 'Too many attempts from your address with links that do not work. Wait before the next one.',
      headers: { 'retry-after': String(retryAfter) },
    });
  }
}

export class HandoverNotFoundError extends AppError {
  constructor() {
    super({ status: 404, code: 'handover.not-found', detail: 'This channel user has no such hand-over link.' });
  }
}

export class AlreadyRevealedError extends AppError {
  constructor() {
    super({
      status: 409,
      code: 'handover.already-revealed',
      detail: 'The password has been revealed already. To stop it working, revoke the credential.',
    });
  }
}
