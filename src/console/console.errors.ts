import { AppError } from '../platform/common/errors.ts';

export class ConsoleNotBuiltError extends AppError {
  constructor(cause: unknown) {
    super(
      {
        status: 404,
        code: 'console.not-built',
        detail: 'The console has not been built. Run `npm run build`, then load this page again.',
      },
      cause,
    );
  }
}

export class NoSuchPageError extends AppError {
  constructor() {
    super({ status: 404, code: 'console.not-found', detail: 'There is no such file in the console.' });
  }
}
