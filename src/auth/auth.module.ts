import { Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { MeController } from './me.controller.ts';
import { RouteRules } from './route-rules.service.ts';

/** Checks at start that every route says who may call it, and serves `/me`. */
@Module({ imports: [DiscoveryModule], controllers: [MeController], providers: [RouteRules] })
export class AuthModule {}
