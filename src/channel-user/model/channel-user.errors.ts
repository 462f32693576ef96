import { AppError } from '../../platform/common/errors.ts';

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
        detail: 'A channel user with this username exists already. Usernames are case-insensitive.',
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
      detail: 'This channel user has changed since the version in If-Match. Read it again and repeat the change.',
    });
  }
}
