import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditModule } from '../../audit/audit.module.ts';
import { ServiceAccountAuthenticator } from '../../auth/service-account-authenticator.service.ts';
import { ChannelUserModule } from '../../channel-user/channel-user.module.ts';
import { RateLimitModule } from '../../rate-limit/rate-limit.module.ts';
import { ServiceAccountAccess } from './service-account-access.service.ts';
import { ServiceAccountController } from './service-account.controller.ts';
import { ServiceAccount } from './service-account.entity.ts';
import { ServiceAccountKey } from './service-account-key.entity.ts';
import { ServiceAccountKeyService } from './service-account-key.service.ts';
import { ServiceAccountService } from './service-account.service.ts';
import { ServiceAccountUseService } from './service-account-use.service.ts';

/** The identities of scripts that provision, and their keys. */
@Module({
  imports: [
    TypeOrmModule.forFeature([ServiceAccount, ServiceAccountKey]),
    AuditModule,
    ChannelUserModule,
    RateLimitModule,
  ],
  controllers: [ServiceAccountController],
  providers: [
    ServiceAccountService,
    ServiceAccountKeyService,
    ServiceAccountUseService,
    ServiceAccountAccess,
    { provide: ServiceAccountAuthenticator, useExisting: ServiceAccountAccess },
  ],
  exports: [ServiceAccountService, ServiceAccountAuthenticator],
})
export class ServiceAccountModule {}
