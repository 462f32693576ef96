import type { FastifyRequest } from 'fastify';
import type { AppError } from '../platform/common/errors.ts';
import type { CurrentStaff } from '../platform/common/principal.ts';
import { InvalidTokenError } from './access-token/access-token.errors.ts';
import type { TokenClaims } from './access-token/signed-token.service.ts';

/**
 * What the guard needs to let staff in. The folder `staff` implements this class, because `staff` imports `auth` and
 * `auth` must not import `staff`.
 */
export abstract class StaffAuthenticator {
  /** The token of the console's session cookie, if the request has one. */
  abstract cookieOf(request: FastifyRequest): string | undefined;

  /** @throws AppError 403 when a request that changes something carries another site's Origin, or none */
  abstract refuseCrossSite(request: FastifyRequest): void;

  /** Reads the staff member that a session belongs to. @returns nothing when the session has ended */
  abstract authenticate(claims: TokenClaims): Promise<CurrentStaff | undefined>;

  /** The error for a request whose session ended before the request arrived or while it was served. */
  sessionEnded(): AppError {
    return new InvalidTokenError('The session has ended.');
  }
}
