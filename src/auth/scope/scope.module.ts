import { Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { ChannelUserModule } from '../../channel-user/channel-user.module.ts';
import { ScopeController } from './scope.controller.ts';
import { ScopeService } from './scope.service.ts';

/** The catalogue of scopes, collected from the routes of every module. */
@Module({ imports: [ChannelUserModule, DiscoveryModule], controllers: [ScopeController], providers: [ScopeService] })
export class ScopeModule {}
