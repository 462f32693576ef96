import { AppError } from '../../platform/common/errors.ts';

/** No event can be appended to the chain of the audit trail. Every change is refused until the cause is removed. */
export class BrokenChainError extends AppError {
  constructor(
    readonly reason: string,
    cause?: unknown,
  ) {
    super(
      {
        status: 500,
        code: 'audit.chain-broken',
        detail: 'The change was not made, because the audit trail cannot record it. The log of the server says why.',
      },
      new Error(`The audit trail cannot be continued: ${reason}`, { cause }),
    );
  }
}
