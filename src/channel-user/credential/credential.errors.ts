import { AppError } from '../../platform/common/errors.ts';
import type { Credential } from '../model/credential.entity.ts';
import type { StartedByDto } from './credential.dto.ts';

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

/** The account has a pending credential already. Its problem document says which, since when, and how to withdraw it. */
export class RotationPendingError extends AppError {
  constructor({ id, channelUserId, createdAt }: Credential, startedBy: StartedByDto | null) {
    const withdraw = `POST /admin/channel-users/${channelUserId}/credentials/${id}/withdraw`;
    super({
      status: 409,
      code: 'credential.rotation-pending',
      detail:
        `The credential ${id} of this channel user has been waiting for its first use since ` +
        `${createdAt.toISOString()}. Withdraw it (${withdraw}), or send its id as \`replaces\`.`,
      extension: { credentialId: id, pendingSince: createdAt, startedBy, withdraw },
    });
  }
}

/** The credential was used, withdrawn, revoked or has expired. */
export class NotPendingError extends AppError {
  constructor(status: string) {
    super({
      status: 409,
      code: 'credential.not-pending',
      detail: `This credential is not pending, but ${status}. Read the credentials again.`,
      extension: { credentialStatus: status },
    });
  }
}
