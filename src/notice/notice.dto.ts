import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn, IsUUID } from 'class-validator';
import { PageCursor, PageLimit } from '../platform/api/openapi.decorators.ts';
import { MayBeAbsent } from '../platform/api/validation.ts';
import { DELIVERY_ERRORS, DELIVERY_STATES, type DeliveryError, type DeliveryState } from './notice-delivery.entity.ts';
import { NOTICE_TYPES, type NoticeType } from './notice.entity.ts';

export class ListNoticesQuery {
  @ApiPropertyOptional({ enum: NOTICE_TYPES })
  @MayBeAbsent()
  @IsIn(NOTICE_TYPES, { message: `must be one of ${NOTICE_TYPES.join(', ')}` })
  type?: NoticeType;

  @ApiPropertyOptional({ enum: DELIVERY_STATES, description: 'Only notices with a delivery in this state.' })
  @MayBeAbsent()
  @IsIn(DELIVERY_STATES, { message: `must be one of ${DELIVERY_STATES.join(', ')}` })
  state?: DeliveryState;

  @ApiPropertyOptional({ format: 'uuid', description: 'Only notices with a delivery to this webhook.' })
  @MayBeAbsent()
  @IsUUID('all', { message: 'must be a UUID' })
  webhook?: string;

  @PageLimit()
  limit?: number;

  @PageCursor()
  cursor?: string;
}

export class NoticeDeliveryDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty({ format: 'uuid' })
  webhookId!: string;

  @ApiProperty({
    enum: DELIVERY_STATES,
    description:
      '`failed`: the last attempt failed and will be repeated. `given-up`: there will be no further attempt.',
  })
  state!: DeliveryState;

  @ApiProperty({ description: 'Attempts since the notice was created or last sent by hand.' })
  attempts!: number;

  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  nextAttemptAt!: Date | null;

  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  lastAttemptAt!: Date | null;

  @ApiProperty({
    type: Number,
    nullable: true,
    description: 'HTTP status of the last response; `null` if there was none.',
  })
  lastStatus!: number | null;

  @ApiProperty({ type: String, enum: DELIVERY_ERRORS, nullable: true })
  lastError!: DeliveryError | null;

  @ApiProperty({
    type: String,
    nullable: true,
    description: 'For `address_not_allowed`: the setting that refused the address.',
  })
  lastErrorDetail!: string | null;

  @ApiProperty({ type: Number, nullable: true })
  lastDurationMs!: number | null;

  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  deliveredAt!: Date | null;
}

export class NoticeDto {
  @ApiProperty({ format: 'uuid', description: 'Sent as `webhook-id` with every delivery of this notice.' })
  id!: string;

  @ApiProperty({ enum: NOTICE_TYPES })
  type!: NoticeType;

  @ApiProperty({ type: String, format: 'date-time' })
  at!: Date;

  @ApiProperty({ type: 'object', additionalProperties: true, description: 'The `data` that webhooks receive.' })
  data!: object;

  @ApiProperty({ type: [NoticeDeliveryDto] })
  deliveries!: NoticeDeliveryDto[];
}

export class NoticePageDto {
  @ApiProperty({ type: [NoticeDto] })
  items!: NoticeDto[];

  @ApiProperty({ type: String, nullable: true })
  nextCursor!: string | null;
}
