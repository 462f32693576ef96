import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditModule } from '../../audit/audit.module.ts';
import { SettingsModule } from '../../settings/settings.module.ts';
import { Staff } from '../staff.entity.ts';
import { StaffModule } from '../staff.module.ts';
import { StaffSession } from '../staff-session.entity.ts';
import { BackchannelLogoutController } from './backchannel-logout.controller.ts';
import { BackchannelLogoutService } from './backchannel-logout.service.ts';
import { DiscoveryService } from './discovery.service.ts';
import { FlowService } from './flow.service.ts';
import { IdentityProviderService } from './identity-provider.service.ts';
import { IdTokenService } from './id-token.service.ts';
import { OidcController } from './oidc.controller.ts';
import { OidcSignInService } from './oidc-sign-in.service.ts';
import { ProviderSignOutService } from './provider-sign-out.service.ts';
import { SignedInPageController } from './signed-in-page.controller.ts';
import { StaffIdentityController } from './staff-identity.controller.ts';
import { UsedLogoutToken } from './used-logout-token.entity.ts';

/** Single sign-on of staff at the company's identity provider. */
@Module({
  imports: [TypeOrmModule.forFeature([Staff, StaffSession, UsedLogoutToken]), AuditModule, SettingsModule, StaffModule],
  controllers: [OidcController, SignedInPageController, StaffIdentityController, BackchannelLogoutController],
  providers: [
    DiscoveryService,
    IdentityProviderService,
    FlowService,
    IdTokenService,
    OidcSignInService,
    ProviderSignOutService,
    BackchannelLogoutService,
  ],
  exports: [IdTokenService],
})
export class OidcModule {}
