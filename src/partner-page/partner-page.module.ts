import { Module } from '@nestjs/common';
import { PartnerPageController } from './partner-page.controller.ts';

@Module({ controllers: [PartnerPageController] })
export class PartnerPageModule {}
