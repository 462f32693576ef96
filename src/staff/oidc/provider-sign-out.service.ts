import { Injectable } from '@nestjs/common';
import { SessionService } from '../session.service.ts';
import { IdentityProviderService } from './identity-provider.service.ts';
import { IdTokenService } from './id-token.service.ts';

/** Offers people who sign out of Latchkey to sign out at the identity provider as well. */
@Injectable()
export class ProviderSignOutService {
  constructor(sessions: SessionService, provider: IdentityProviderService, idTokens: IdTokenService) {
    sessions.offerSignOutWith(async (sessionId) => {
      // Without a provider, there is nothing to sign out of.
      if (provider.name === undefined) return () => Promise.resolve(undefined);
      const idToken = await idTokens.of(sessionId);
      return () => provider.endSessionUrl(idToken);
    });
  }
}
