import { applyDecorators, Controller, HttpCode, Post, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProduces } from '@nestjs/swagger';
import {
  ApiProblems,
  type ChannelUserPrincipal,
  CurrentChannelUser,
  Granted,
  ListBody,
  PartnerApi,
  Scopes,
} from '../../src/extend.ts';
import { BlackoutDay, InventoryDay, MAX_DAYS, MaxStayDay, MinStayDay, RatePlanQuery } from './calendar.dto.ts';
import { CalendarService } from './calendar.service.ts';
import { RoomQuery } from './content.dto.ts';
import { CALENDAR_WRITE } from './scopes.ts';

const DESCRIPTION =
  'Applies all days or none. Idempotent. A minimum stay above the maximum stay of its day is refused, as is an ' +
  'inventory above the number of rooms; the error names the day. Days have no time zone; today is in UTC.';

/** One of the calls that change a calendar: the whole request or nothing. */
const Update = (operationId: string, summary: string, answer: string): MethodDecorator =>
  applyDecorators(
    Post(operationId),
    HttpCode(200),
    ApiOperation({ operationId, summary, description: DESCRIPTION }),
    ApiProduces('text/plain'),
    ApiOkResponse({ schema: { type: 'string', enum: [answer] } }),
    ApiProblems(400, 404, 413, 415),
  );

@Controller()
@PartnerApi('Calendar')
@Scopes(CALENDAR_WRITE)
export class CalendarController {
  constructor(private readonly calendar: CalendarService) {}

  @Update('updateCalendarInventory', 'Set how many units of a room are left', 'calendar inventory updated')
  @Granted('room', 'roomId')
  async inventory(
    @Query() { roomId }: RoomQuery,
    @ListBody(InventoryDay, { max: MAX_DAYS, unique: 'date' }) days: InventoryDay[],
    @CurrentChannelUser() { id }: ChannelUserPrincipal,
  ): Promise<string> {
    await this.calendar.pushInventory(roomId, days, id);
    return 'calendar inventory updated';
  }

  @Update('updateCalendarBlackout', 'Set the days on which a room is not sold', 'calendar blackout updated')
  @Granted('room', 'roomId')
  async blackout(
    @Query() { roomId }: RoomQuery,
    @ListBody(BlackoutDay, { max: MAX_DAYS, unique: 'date' }) days: BlackoutDay[],
    @CurrentChannelUser() { id }: ChannelUserPrincipal,
  ): Promise<string> {
    await this.calendar.pushBlackout(roomId, days, id);
    return 'calendar blackout updated';
  }

  @Update('updateCalendarMinStay', 'Set the minimum stay in nights', 'calendar min stay updated')
  @Granted('room', 'roomId')
  @Granted('rate-plan', 'ratePlanId')
  async minStay(
    @Query() query: RatePlanQuery,
    @ListBody(MinStayDay, { max: MAX_DAYS, unique: 'date' }) days: MinStayDay[],
    @CurrentChannelUser() { id }: ChannelUserPrincipal,
  ): Promise<string> {
    await this.calendar.pushMinStay(query, days, id);
    return 'calendar min stay updated';
  }

  @Update('updateCalendarMaxStay', 'Set the maximum stay in nights', 'calendar max stay updated')
  @Granted('room', 'roomId')
  @Granted('rate-plan', 'ratePlanId')
  async maxStay(
    @Query() query: RatePlanQuery,
    @ListBody(MaxStayDay, { max: MAX_DAYS, unique: 'date' }) days: MaxStayDay[],
    @CurrentChannelUser() { id }: ChannelUserPrincipal,
  ): Promise<string> {
    await this.calendar.pushMaxStay(query, days, id);
    return 'calendar max stay updated';
  }
}
