import { AppError } from '../../platform/common/errors.ts';

export class CredentialNotFoundError extends AppError {
  constructor() {
    super({ status: 404, code: 'credential.not-found', detail: 'This channel user has no such credential.' });
  }
}

export class TooManyCredentialsError extends AppError {
  constructor(max: number) {
    super({
      status: 409,
      code: 'credential.too-many',
      detail:
        `A channel user can have at most ${String(max)} live credentials. Revoke one, or retire the others ` +
        'at once.',
    });
  }
}
