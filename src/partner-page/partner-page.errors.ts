import { AppError } from '../platform/common/errors.ts';

export class NoSuchPageFileError extends AppError {
  constructor() {
    super({ status: 404, code: 'partner-page.not-found', detail: 'There is no such file of the partner’s page.' });
  }
}
