import { AppError } from '../common/errors.ts';

export class ChannelUserNotFoundError extends AppError {
  constructor() {
    super({ status: 404, code: 'channel-user.not-found', detail: 'There is no such channel user.' });
  }
}

export class UsernameTakenError extends AppError {
  constructor(cause: unknown) {
    super(
      {
        status: 409,
        code: 'channel-user.username-taken',
        detail: 'A channel user with this username exists already; case makes no difference.',
        errors: [{ field: 'username', messages: ['is taken'] }],
      },
      cause,
    );
  }
}

export class OutdatedVersionError extends AppError {
  constructor() {
    super({
      status: 412,
      code: 'channel-user.outdated-version',
      detail: 'Somebody changed this channel user since the version in If-Match. Read it again.',
    });
  }
}

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
      detail: `A channel user has at most ${String(max)} live credentials. Revoke one, or retire the others at once.`,
    });
  }
}
