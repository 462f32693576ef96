import { AppError } from '../../platform/common/errors.ts';

/** RFC 6750 §3.1 `invalid_token`: the key itself does not work. */
abstract class RefusedKeyError extends AppError {
  constructor(reason: string, detail: string) {
    const challenge = `Bearer realm="latchkey", error="invalid_token", error_description="${detail}"`;
    super({
      status: 401,
      code: `service-account.${reason}`,
      detail,
      headers: { 'www-authenticate': challenge },
    });
  }
}

/** The text has another form than a key, or its checksum is wrong. */
export class MistypedKeyError extends RefusedKeyError {
  constructor() {
    super('mistyped-key', 'The key is mistyped or incomplete. Copy the whole key.');
  }
}

/** The same for an unknown key, a wrong secret, and a key that was revoked, withdrawn or replaced. */
export class InvalidKeyError extends RefusedKeyError {
  constructor() {
    super('invalid-key', 'The key is not valid, or no longer valid.');
  }
}

export class ServiceAccountExpiredError extends RefusedKeyError {
  constructor() {
    super('expired', 'The service account has expired. An admin can extend it.');
  }
}

export class ServiceAccountSuspendedError extends AppError {
  constructor() {
    super({
      status: 403,
      code: 'service-account.suspended',
      detail: 'The service account is suspended. An admin can reactivate it.',
    });
  }
}

export class KeyAddressNotAllowedError extends AppError {
  constructor(address: string | undefined) {
    super({
      status: 403,
      code: 'service-account.address-not-allowed',
      detail: `The service account may not be used from ${address ?? 'an address that cannot be told'}.`,
    });
  }
}

export class TooManyKeysTriedError extends AppError {
  /** @param retryAfter in seconds */
  constructor(retryAfter: number) {
    super({
      status: 429,
      code: 'service-account.too-many-attempts',
      detail: 'Too many attempts from your address with keys that do not work. Wait before the next one.',
      headers: { 'retry-after': String(retryAfter) },
    });
  }
}

export class ServiceAccountNotFoundError extends AppError {
  constructor() {
    super({ status: 404, code: 'service-account.not-found', detail: 'There is no such service account.' });
  }
}

export class KeyNotFoundError extends AppError {
  constructor() {
    super({ status: 404, code: 'service-account.key-not-found', detail: 'This service account has no such live key.' });
  }
}

export class NameTakenError extends AppError {
  constructor(cause: unknown) {
    super(
      {
        status: 409,
        code: 'service-account.name-taken',
        detail: 'A service account with this name exists already.',
        errors: [{ field: 'name', messages: ['is taken'] }],
      },
      cause,
    );
  }
}

/** A revoked service account stays as it is until it is deleted. */
export class ServiceAccountRevokedError extends AppError {
  constructor() {
    super({
      status: 409,
      code: 'service-account.revoked',
      detail: 'The service account is revoked for good. Create another one.',
    });
  }
}

export class TooManyKeysError extends AppError {
  constructor(max: number) {
    super({
      status: 409,
      code: 'service-account.too-many-keys',
      detail: `A service account can have at most ${String(max)} live keys. Revoke one, or retire the others at once.`,
    });
  }
}

/** The account has a pending key already. Its problem document says which, since when, and how to withdraw it. */
export class KeyRotationPendingError extends AppError {
  constructor(serviceAccountId: string, { id, createdAt }: { readonly id: string; readonly createdAt: Date }) {
    const withdraw = `POST /admin/service-accounts/${serviceAccountId}/keys/${id}/withdraw`;
    super({
      status: 409,
      code: 'service-account.rotation-pending',
      detail:
        `The key ${id} of this service account has been waiting for its first use since ${createdAt.toISOString()}. ` +
        `Withdraw it (${withdraw}), or send its id as \`replaces\`.`,
      extension: { keyId: id, pendingSince: createdAt, withdraw },
    });
  }
}

/** The key was used, withdrawn, revoked or has ended. */
export class KeyNotPendingError extends AppError {
  constructor(status: string) {
    super({
      status: 409,
      code: 'service-account.key-not-pending',
      detail: `This key is not pending, but ${status}. Read the service account again.`,
      extension: { keyStatus: status },
    });
  }
}
