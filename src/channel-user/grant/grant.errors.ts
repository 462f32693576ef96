import { AppError } from '../../platform/common/errors.ts';

export class GrantNotFoundError extends AppError {
  constructor() {
    super({ status: 404, code: 'grant.not-found', detail: 'This channel user has no such grant.' });
  }
}
