import type { FastifyRequest } from 'fastify';
import type { CurrentStaff } from '../common/request-context.ts';
import type { TokenClaims } from './token.service.ts';

/**
 * What the guard asks about the staff plane. The staff module provides it: that module needs `auth` to sign its
 * tokens, so `auth` must not need it in turn.
 */
export abstract class StaffPlane {
  /** The token of the console's session cookie, if the request has one. */
  abstract cookieOf(request: FastifyRequest): string | undefined;

  /** @throws AppError 403 when a request that changes something carries another site's Origin, or none */
  abstract refuseCrossSite(request: FastifyRequest): void;

  /** Reads the holder of a session, or nothing when the session has ended. */
  abstract authenticate(claims: TokenClaims): Promise<CurrentStaff | undefined>;
}
