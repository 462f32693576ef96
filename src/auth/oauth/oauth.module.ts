import { Module } from '@nestjs/common';
import { AccessTokenModule } from '../access-token/access-token.module.ts';
import { SignInModule } from '../sign-in/sign-in.module.ts';
import { SigningKeyModule } from '../signing-key/signing-key.module.ts';
import { OAuthController } from './oauth.controller.ts';
import { WellKnownController } from './well-known.controller.ts';

/** The standard OAuth endpoints for clients and resource servers. */
@Module({
  imports: [AccessTokenModule, SignInModule, SigningKeyModule],
  controllers: [OAuthController, WellKnownController],
})
export class OAuthModule {}
