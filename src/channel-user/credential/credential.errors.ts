import { AppError } from '../../platform/common/errors.ts';
import type { Credential } from '../model/credential.entity.ts';
import type { StartedByDto } from './credential.dto.ts';

export class CredentialNotFoundError extends AppError {
  constructor() {
    super({ status: 404, code: 'credential.not-found', detail: 'This channel user has no such credential.' });
  }
}

export class TooManyCredentialsError extends AppError {
  /** @param advice what the caller can do about it */
  constructor(max: number, advice: string) {
    super({
      status: 409,
      code: 'credential.too-many',
      detail: `A channel user can have at most ${String(max)} live credentials. ${advice}`,
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

/** {@link RotationPendingError} for the channel user itself, who is told no names of staff. */
export class OwnRotationPendingError extends AppError {
  constructor({ id, createdAt, begunBy }: Credential) {
    const withdraw = begunBy === 'account' ? `POST /me/credentials/${id}/withdraw` : null;
    const advice =
      withdraw === null
        ? 'Your contact can send you a new link or withdraw it.'
        : `If you have lost it, withdraw it (${withdraw}).`;
    super({
      status: 409,
      code: 'credential.rotation-pending',
      detail:
        `A new password has been waiting for its first use since ${createdAt.toISOString()} (${id}). Sign in with it. ` +
        advice,
      extension: {
        credentialId: id,
        pendingSince: createdAt,
        startedBy: begunBy === 'service-account' ? 'staff' : begunBy,
        withdraw,
      },
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
