import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditModule, GrantModule } from '../../src/extend.ts';
import { CalendarController } from './calendar.controller.ts';
import { CalendarService } from './calendar.service.ts';
import { CalendarDay, RatePlanDay } from './calendar.entity.ts';
import { ConnectivityDemo } from './connectivity.demo.ts';
import { ContentController } from './content.controller.ts';
import { PropertyController } from './property.controller.ts';
import { Property, RatePlan, Room } from './property.entity.ts';
import { PropertyService } from './property.service.ts';

/** Properties with their rooms, rate plans and calendars, as channel managers keep them up to date. */
@Module({
  imports: [TypeOrmModule.forFeature([Property, Room, RatePlan, CalendarDay, RatePlanDay]), AuditModule, GrantModule],
  controllers: [ContentController, CalendarController, PropertyController],
  providers: [PropertyService, CalendarService, ConnectivityDemo],
})
export class ConnectivityModule {}
