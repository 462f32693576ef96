import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditModule } from '../audit/audit.module.ts';
import { HandoverModule } from '../handover/handover.module.ts';
import { RateLimitModule } from '../rate-limit/rate-limit.module.ts';
import { ChannelUserController } from './channel-user.controller.ts';
import { ChannelUser } from './channel-user.entity.ts';
import { ChannelUserService } from './channel-user.service.ts';
import { Credential } from './credential.entity.ts';
import { CredentialService } from './credential.service.ts';
import { Directory } from './directory.service.ts';
import { PasswordService } from './password.service.ts';
import { SignInFailure } from './sign-in-failure.entity.ts';

/** Partners' accounts and their credentials: the module to copy the shape of. */
@Module({
  imports: [
    TypeOrmModule.forFeature([ChannelUser, Credential, SignInFailure]),
    AuditModule,
    HandoverModule,
    RateLimitModule,
  ],
  controllers: [ChannelUserController],
  providers: [ChannelUserService, CredentialService, Directory, PasswordService],
  exports: [ChannelUserService, CredentialService, Directory, PasswordService],
})
export class ChannelUserModule {}
