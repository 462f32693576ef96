import { Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { ScopeController } from './scope.controller.ts';
import { ScopeService } from './scope.service.ts';

/** The catalogue of scopes, collected from every module that is there. */
@Module({ imports: [DiscoveryModule], controllers: [ScopeController], providers: [ScopeService] })
export class ScopeModule {}
