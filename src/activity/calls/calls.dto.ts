import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { PageCursor, PageLimit } from '../../platform/api/openapi.decorators.ts';
import { IsQueryInteger, MayBeAbsent } from '../../platform/api/validation.ts';

/** Hours of calls that a request shows if it does not say how many. */
export const DEFAULT_HOURS = 24;
const MAX_HOURS = 168;
const STATUS_CLASSES = ['1xx', '2xx', '3xx', '4xx', '5xx'] as const;

export class ReadCallsQuery {
  @ApiPropertyOptional({
    minimum: 1,
    maximum: MAX_HOURS,
    default: DEFAULT_HOURS,
    description: 'How many hours to show: the present one and those before it.',
  })
  @MayBeAbsent()
  @IsQueryInteger(1, MAX_HOURS)
  hours?: number;
}

export class ListCallErrorsQuery {
  @PageLimit()
  limit?: number;

  @PageCursor()
  cursor?: string;
}

class CallTotalDto {
  @ApiProperty({ type: String, nullable: true, example: 'GET', description: '`null` for the route `other`.' })
  method!: string | null;

  @ApiProperty({
    example: '/properties/:propertyId',
    description: 'Template of the route. `other` sums up all routes beyond the 50 with the most calls.',
  })
  route!: string;

  @ApiProperty({ enum: STATUS_CLASSES, description: 'First digit of the status. `4xx` includes closed connections.' })
  statusClass!: (typeof STATUS_CLASSES)[number];

  @ApiProperty({ type: 'integer' })
  count!: number;
}

class CallCountDto extends CallTotalDto {
  @ApiProperty({ type: String, format: 'date-time', description: 'Start of the hour.' })
  hour!: Date;
}

export class CallsDto {
  @ApiProperty({ type: String, format: 'date-time', description: 'Start of the first hour that is shown.' })
  from!: Date;

  @ApiProperty({ type: [CallTotalDto], description: 'The calls of all these hours together, by route.' })
  totals!: CallTotalDto[];

  @ApiProperty({
    type: [CallCountDto],
    description: 'Newest hour first, then by route. Calls that other instances have answered show within seconds.',
  })
  items!: CallCountDto[];
}

export class CallErrorDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty({ type: String, format: 'date-time' })
  at!: Date;

  @ApiProperty({ example: 'GET' })
  method!: string;

  @ApiProperty({ example: '/properties/:propertyId', description: 'Template of the route.' })
  route!: string;

  @ApiProperty({ type: 'integer', description: '499 if the connection was closed before the answer.' })
  status!: number;

  @ApiProperty({ type: String, nullable: true, example: 'auth.invalid-token' })
  code!: string | null;

  @ApiProperty({ example: 'Unauthorized' })
  title!: string;

  @ApiProperty({ description: 'Why, in a sentence.', example: 'The token had expired.' })
  reason!: string;

  @ApiProperty({ description: 'What to do about it.' })
  hint!: string;

  @ApiProperty({ format: 'uuid', description: 'The X-Request-Id of the answer.' })
  requestId!: string;

  @ApiProperty({
    type: 'integer',
    description:
      'Number of calls in this item, which describes the first of them. Calls for one reason beyond 30 a minute share ' +
      'one item.',
  })
  count!: number;
}

export class CallErrorPageDto {
  @ApiProperty({ type: [CallErrorDto] })
  items!: CallErrorDto[];

  @ApiProperty({ type: String, nullable: true })
  nextCursor!: string | null;
}
