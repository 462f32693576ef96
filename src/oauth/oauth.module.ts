import { Module } from '@nestjs/common';
import { AuthModule } from '../auth/auth.module.ts';
import { SigningKeyModule } from '../signing-key/signing-key.module.ts';
import { OAuthController } from './oauth.controller.ts';
import { RevokedTokenController } from './revoked-token.controller.ts';
import { WellKnownController } from './well-known.controller.ts';

/** The standard endpoints, for any OAuth client and any resource server. */
@Module({
  imports: [AuthModule, SigningKeyModule],
  controllers: [OAuthController, WellKnownController, RevokedTokenController],
})
export class OAuthModule {}
