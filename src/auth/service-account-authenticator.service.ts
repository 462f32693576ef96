import type { FastifyRequest } from 'fastify';
import type { CurrentServiceAccount } from '../platform/common/principal.ts';

/**
 * What the guard needs to let service accounts in. The folder `staff/service-account` implements this class, because
 * `auth` must not import it.
 */
export abstract class ServiceAccountAuthenticator {
  /**
   * Recognises a key, and notes in the request whose it is.
   *
   * @throws AppError 401 or 403 when the key or its account may not be used, or not from this address; 429 when there
   *   were too many wrong keys from this address, which never refuses a right one
   */
  abstract authenticate(key: string, request: FastifyRequest): Promise<CurrentServiceAccount>;

  /**
   * Records that a key opened a route. The first use of a pending key makes it active.
   *
   * @throws AppError 401 when the key has ended in the meantime
   * @throws UnavailableError when the first use cannot be written
   */
  abstract recordUse(account: CurrentServiceAccount, request: FastifyRequest): Promise<void>;
}
