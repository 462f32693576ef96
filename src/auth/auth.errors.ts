import { AppError } from '../platform/common/errors.ts';
import type { TokenApi } from './access-token/signed-token.service.ts';

/** A partner's token was sent to the staff API, or a staff token to another API. */
export class WrongApiError extends AppError {
  constructor(needed: TokenApi) {
    super({ status: 403, code: 'auth.wrong-plane', detail: `This path needs a ${needed} token.` });
  }
}

/** All staff must have a second factor, and the owner of this session has none. */
export class EnrolmentRequiredError extends AppError {
  constructor() {
    super({
      status: 403,
      code: 'session.enrolment-required',
      detail: 'All staff must have a second factor. Set yours up first: POST /admin/session/totp.',
    });
  }
}

export class InsufficientRoleError extends AppError {
  constructor(role: string) {
    super({ status: 403, code: 'auth.insufficient-role', detail: `This needs the role ${role}.` });
  }
}
