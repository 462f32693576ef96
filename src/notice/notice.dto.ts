import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn, IsUUID } from 'class-validator';
import { PageCursor, PageLimit } from '../common/api.ts';
import { MayBeAbsent } from '../common/validation.ts';
import { DELIVERY_ERRORS, DELIVERY_STATES, type DeliveryError, type DeliveryState } from './notice-delivery.entity.ts';
import { NOTICE_TYPES, type NoticeType } from './notice.entity.ts';

export class ListNoticesQuery {
  @ApiPropertyOptional({ enum: NOTICE_TYPES })
  @MayBeAbsent()
  @IsIn(NOTICE_TYPES, { message: `must be one of ${NOTICE_TYPES.join(', ')}` })
  type?: NoticeType;

  @ApiPropertyOptional({ enum: DELIVERY_STATES, description: 'Those with a delivery in this state.' })
  @MayBeAbsent()
  @IsIn(DELIVERY_STATES, { message: `must be one of ${DELIVERY_STATES.join(', ')}` })
  state?: DeliveryState;

  @ApiPropertyOptional({ format: 'uuid', description: 'Those with a delivery to this webhook.' })
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
    description: '`failed`: the last attempt did, and there will be another; `given-up`: there will be none.',
  })
  state!: DeliveryState;

  @ApiProperty({ description: 'Begun since somebody last asked for it.' })
  attempts!: number;

  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  nextAttemptAt!: Date | null;

  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  lastAttemptAt!: Date | null;

  @ApiProperty({ type: Number, nullable: true, description: 'HTTP status of the last answer, where there was one.' })
  lastStatus!: number | null;

  @ApiProperty({ type: String, enum: DELIVERY_ERRORS, nullable: true })
  lastError!: DeliveryError | null;

  @ApiProperty({ type: Number, nullable: true })
  lastDurationMs!: number | null;

  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  deliveredAt!: Date | null;
}

export class NoticeDto {
  @ApiProperty({ format: 'uuid', description: 'The `webhook-id` of every attempt to deliver it.' })
  id!: string;

  @ApiProperty({ enum: NOTICE_TYPES })
  type!: NoticeType;

  @ApiProperty({ type: String, format: 'date-time' })
  at!: Date;

  @ApiProperty({ type: 'object', additionalProperties: true, description: 'As webhooks get it.' })
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
