import { AppError } from '../../platform/common/errors.ts';

export class TooManyLeakReportsError extends AppError {
  /** @param retryAfter in seconds */
  constructor(retryAfter: number) {
    super({
      status: 429,
      code: 'credential.too-many-reports',
      detail: 'Too many attempts. Wait before the next report.',
      headers: { 'retry-after': String(retryAfter) },
    });
  }
}
