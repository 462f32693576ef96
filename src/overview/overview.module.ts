import { Module } from '@nestjs/common';
import { ActivityModule } from '../activity/activity.module.ts';
import { OverviewController } from './overview.controller.ts';
import { OverviewService } from './overview.service.ts';

/** What staff look at first: numbers over all partners. */
@Module({ imports: [ActivityModule], controllers: [OverviewController], providers: [OverviewService] })
export class OverviewModule {}
