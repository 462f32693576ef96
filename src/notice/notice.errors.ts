import { AppError } from '../platform/common/errors.ts';

export class WebhookNotFoundError extends AppError {
  constructor() {
    super({ status: 404, code: 'webhook.not-found', detail: 'There is no such webhook.' });
  }
}

export class TooManyWebhooksError extends AppError {
  constructor(max: number) {
    super({
      status: 409,
      code: 'webhook.too-many',
      detail: `There are already ${String(max)} webhooks, the maximum. Delete one first.`,
    });
  }
}

export class WebhookDisabledError extends AppError {
  constructor() {
    super({ status: 409, code: 'webhook.disabled', detail: 'The webhook is disabled. Enable it first.' });
  }
}

export class DeliveryNotFoundError extends AppError {
  constructor() {
    super({ status: 404, code: 'notice.delivery-not-found', detail: 'This notice has no such delivery.' });
  }
}
