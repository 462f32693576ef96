import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { ArrayMaxSize, ArrayUnique, IsArray, IsUrl, Matches } from 'class-validator';
import { MayBeAbsent, PageCursor, PageLimit } from '../../src/extend.ts';
import { Capacity } from './content.dto.ts';
import { DisplayName, WholeNumber } from './field-rules.ts';

const MAX_IMAGES = 50;
/** No scheme, no leading slash, no way up. */
const RELATIVE_PATH = /^(?!.*(?:^|\/)\.\.?(?:\/|$))[\w.-]{1,64}(?:\/[\w.-]{1,64}){0,7}$/;

export class PropertyImagesRequest {
  @ApiProperty({ type: [String], maxItems: MAX_IMAGES, example: ['properties/seaside/front.jpg'] })
  @IsArray({ message: 'must be a list' })
  @ArrayMaxSize(MAX_IMAGES, { message: `must have at most ${String(MAX_IMAGES)} entries` })
  @ArrayUnique({ message: 'must not repeat an entry' })
  @Matches(RELATIVE_PATH, { each: true, message: 'each must be a relative path' })
  images!: string[];
}

export class RoomImagesRequest {
  @ApiProperty({ type: [String], maxItems: MAX_IMAGES, example: ['https://images.example/rooms/double.jpg'] })
  @IsArray({ message: 'must be a list' })
  @ArrayMaxSize(MAX_IMAGES, { message: `must have at most ${String(MAX_IMAGES)} entries` })
  @ArrayUnique({ message: 'must not repeat an entry' })
  @IsUrl({ protocols: ['https'], require_protocol: true }, { each: true, message: 'each must be an https URL' })
  images!: string[];
}

export class CreatePropertyRequest {
  @DisplayName()
  name!: string;
}

export class CreateRoomRequest extends Capacity {
  @DisplayName()
  name!: string;

  @WholeNumber(0, 10_000)
  quantity!: number;
}

export class CreateRatePlanRequest {
  @DisplayName()
  name!: string;
}

export class ListPropertiesQuery {
  @PageLimit()
  limit?: number;

  @PageCursor()
  cursor?: string;
}

export class CalendarQuery {
  @ApiPropertyOptional({ example: '2030-01-01', description: 'The first day. Default: today in UTC.' })
  @MayBeAbsent()
  @Matches(/^\d{4}-\d\d-\d\d$/, { message: 'must be a day as YYYY-MM-DD' })
  from?: string;
}

export class PropertyDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty()
  name!: string;

  @ApiProperty({ type: [String] })
  images!: string[];
}

export class PropertyPageDto {
  @ApiProperty({ type: [PropertyDto] })
  items!: PropertyDto[];

  @ApiProperty({ type: String, nullable: true })
  nextCursor!: string | null;
}

export class RatePlanDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty({ format: 'uuid' })
  roomId!: string;

  @ApiProperty()
  name!: string;
}

export class RoomDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty({ format: 'uuid' })
  propertyId!: string;

  @ApiProperty()
  name!: string;

  @ApiProperty({ type: 'integer' })
  quantity!: number;

  @ApiProperty({ type: 'integer' })
  maxGuests!: number;

  @ApiProperty({ type: 'integer' })
  maxAdults!: number;

  @ApiProperty({ type: 'integer' })
  maxChildren!: number;

  @ApiProperty({ type: [String] })
  images!: string[];

  @ApiProperty({ type: String, format: 'uuid', nullable: true, description: 'The channel user that changed it last.' })
  pushedBy!: string | null;
}

export class RoomWithPlansDto extends RoomDto {
  @ApiProperty({ type: [RatePlanDto] })
  ratePlans!: RatePlanDto[];
}

export class PropertyWithRoomsDto extends PropertyDto {
  @ApiProperty({ type: [RoomWithPlansDto] })
  rooms!: RoomWithPlansDto[];
}

class PushedDayDto {
  @ApiProperty({ format: 'date' })
  date!: string;

  @ApiProperty({ format: 'uuid' })
  pushedBy!: string;

  @ApiProperty({ type: String, format: 'date-time' })
  pushedAt!: Date;
}

export class CalendarDayDto extends PushedDayDto {
  @ApiProperty({ type: 'integer', nullable: true })
  inventory!: number | null;

  @ApiProperty({ type: Boolean, nullable: true })
  blackout!: boolean | null;
}

export class RatePlanDayDto extends PushedDayDto {
  @ApiProperty({ format: 'uuid' })
  ratePlanId!: string;

  @ApiProperty({ type: 'integer', nullable: true })
  minStay!: number | null;

  @ApiProperty({ type: 'integer', nullable: true })
  maxStay!: number | null;
}

export class CalendarDto {
  @ApiProperty({ type: [CalendarDayDto], description: 'For one year, sorted by day.' })
  days!: CalendarDayDto[];

  @ApiProperty({ type: [RatePlanDayDto], description: 'For one year, sorted by rate plan and day.' })
  ratePlanDays!: RatePlanDayDto[];
}
