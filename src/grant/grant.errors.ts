import { AppError } from '../common/errors.ts';

export class GrantNotFoundError extends AppError {
  constructor() {
    super({ status: 404, code: 'grant.not-found', detail: 'The channel user has no such grant.' });
  }
}
