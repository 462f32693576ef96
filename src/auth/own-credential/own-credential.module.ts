import { Module } from '@nestjs/common';
import { ChannelUserModule } from '../../channel-user/channel-user.module.ts';
import { HandoverModule } from '../../channel-user/handover/handover.module.ts';
import { SignInModule } from '../sign-in/sign-in.module.ts';
import { OwnCredentialController } from './own-credential.controller.ts';
import { OwnCredentialService } from './own-credential.service.ts';

/** What a partner sees of its own passwords, and its own rotations. */
@Module({
  imports: [ChannelUserModule, HandoverModule, SignInModule],
  controllers: [OwnCredentialController],
  providers: [OwnCredentialService],
})
export class OwnCredentialModule {}
