import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditModule } from '../audit/audit.module.ts';
import { HandoverModule } from './handover/handover.module.ts';
import { PasswordModule } from '../password/password.module.ts';
import { RateLimitModule } from '../rate-limit/rate-limit.module.ts';
import { ChannelUserListService } from './channel-user-list.service.ts';
import { ChannelUserSearch } from './channel-user-search.service.ts';
import { ChannelUserController } from './channel-user.controller.ts';
import { ChannelUser } from './model/channel-user.entity.ts';
import { ChannelUserService } from './channel-user.service.ts';
import { CredentialController } from './credential/credential.controller.ts';
import { Credential } from './model/credential.entity.ts';
import { CredentialService } from './credential/credential.service.ts';
import { CredentialEndService } from './credential/credential-end.service.ts';
import { AccountCache } from './account/account-cache.service.ts';
import { LastUse } from './model/last-use.entity.ts';
import { LastUseService } from './credential/last-use.service.ts';
import { RotationService } from './credential/rotation.service.ts';
import { RotationEndService } from './credential/rotation-end.service.ts';
import { StarterNames } from './credential/starter-names.service.ts';
import { ImportedPasswordService } from './account/imported-password.service.ts';
import { ExpiryNoticesService } from './expiry-notices.service.ts';
import { RotationNoticesService } from './rotation-notices.service.ts';
import { NoticeModule } from '../notice/notice.module.ts';
import { ListFilters } from './list-filter.service.ts';
import { ChannelUserTally } from './tally.entity.ts';
import { TallyService } from './tally.service.ts';

/** Partners' accounts and their credentials. A new module can copy the shape of this one. */
@Module({
  imports: [
    TypeOrmModule.forFeature([ChannelUser, ChannelUserTally, Credential, LastUse]),
    AuditModule,
    HandoverModule,
    NoticeModule,
    PasswordModule,
    RateLimitModule,
  ],
  controllers: [ChannelUserController, CredentialController],
  providers: [
    ChannelUserService,
    ChannelUserListService,
    ChannelUserSearch,
    CredentialService,
    CredentialEndService,
    AccountCache,
    LastUseService,
    RotationService,
    RotationEndService,
    StarterNames,
    ImportedPasswordService,
    TallyService,
    ListFilters,
    ExpiryNoticesService,
    RotationNoticesService,
  ],
  exports: [
    ChannelUserService,
    ChannelUserListService,
    CredentialService,
    CredentialEndService,
    AccountCache,
    LastUseService,
    RotationService,
    StarterNames,
    ImportedPasswordService,
    TallyService,
    ListFilters,
  ],
})
export class ChannelUserModule {}
