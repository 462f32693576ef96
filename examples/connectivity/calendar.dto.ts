import { ApiProperty } from '@nestjs/swagger';
import { IsBoolean } from 'class-validator';
import { IsCalendarDate } from './calendar-date.ts';
import { RoomQuery } from './content.dto.ts';
import { DisplayName, ResourceId, WholeNumber } from './field-rules.ts';

/** In one request. */
export const MAX_DAYS = 1_000;
const MAX_NIGHTS = 365;

export class RatePlanQuery extends RoomQuery {
  @ResourceId()
  ratePlanId!: string;
}

/** The property's name is sent along so that a wrong mapping on the partner's side is noticed. */
export class PushedDay {
  @IsCalendarDate()
  date!: string;

  @DisplayName()
  propertyName!: string;
}

export class InventoryDay extends PushedDay {
  @WholeNumber(0, 10_000)
  inventoryNumber!: number;
}

export class BlackoutDay extends PushedDay {
  @ApiProperty()
  @IsBoolean({ message: 'must be true or false' })
  blackoutStatus!: boolean;
}

export class MinStayDay extends PushedDay {
  @WholeNumber(1, MAX_NIGHTS)
  minStay!: number;
}

export class MaxStayDay extends PushedDay {
  @WholeNumber(1, MAX_NIGHTS)
  maxStay!: number;
}
