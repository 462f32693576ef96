import { applyDecorators } from '@nestjs/common';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { ArrayMaxSize, ArrayUnique, IsArray, IsBoolean, IsIn, IsInt, Max, Min } from 'class-validator';
import { IsName, IsPlainText, MayBeAbsent, MayBeNull } from '../platform/api/validation.ts';
import { EVENT_TYPES } from './notice.entity.ts';

const MAX_URL = 2048;
const MAX_OVERLAP_SECONDS = 7 * 86_400;
const EVENTS = 'Types of notices to send. Empty: all types, future ones included.';
const URL_RULES =
  'An https URL on port 443 without username or password that leads to a public address. ' +
  '`WEBHOOK_ALLOWED_NETWORKS` lists exceptions.';

export class WebhookDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty({
    format: 'uri',
    description: 'The full URL for admins. Other roles see only its origin, because the rest may contain a secret.',
  })
  url!: string;

  @ApiProperty({ type: String, nullable: true })
  description!: string | null;

  @ApiProperty({ enum: EVENT_TYPES, isArray: true, description: EVENTS })
  events!: string[];

  @ApiProperty({ description: 'While `false`, nothing is sent: new notices are skipped, pending ones wait.' })
  enabled!: boolean;

  @ApiProperty({
    type: String,
    enum: ['gone'],
    nullable: true,
    description: '`gone`: the receiver answered 410, which disabled the webhook.',
  })
  disabledReason!: string | null;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    description: 'Until then the previous secret signs too.',
  })
  previousSecretUntil!: Date | null;

  @ApiProperty({ type: String, format: 'date-time' })
  createdAt!: Date;

  @ApiProperty({ type: String, format: 'date-time' })
  updatedAt!: Date;
}

export class WebhookListDto {
  @ApiProperty({ type: [WebhookDto] })
  items!: WebhookDto[];
}

export class NewWebhookDto extends WebhookDto {
  @ApiProperty({
    example: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw6cKkPgZ4h3k=',
    description: 'The signing secret, in the format of Standard Webhooks. Shown only in this response.',
  })
  secret!: string;
}

/** Lists the rules in the order in which they apply. Decorators above each other apply from the bottom up. */
const AreEventTypes = (): PropertyDecorator =>
  applyDecorators(
    IsIn(EVENT_TYPES, { each: true, message: `must be one of ${EVENT_TYPES.join(', ')}` }),
    ArrayMaxSize(EVENT_TYPES.length, { message: 'must not have more entries than there are types' }),
    ArrayUnique({ message: 'must not repeat a type' }),
    IsArray({ message: 'must be a list' }),
    MayBeAbsent(),
  );

export class CreateWebhookRequest {
  @ApiProperty({ maxLength: MAX_URL, example: 'https://hooks.example.com/latchkey', description: URL_RULES })
  @IsPlainText(1, MAX_URL)
  url!: string;

  @ApiPropertyOptional({ type: String, nullable: true, maxLength: 200 })
  @MayBeNull()
  @IsName(1, 200)
  description?: string | null;

  @ApiPropertyOptional({ enum: EVENT_TYPES, isArray: true, default: [], description: EVENTS })
  @AreEventTypes()
  events?: string[];

  @ApiPropertyOptional({ default: true })
  @MayBeAbsent()
  @IsBoolean({ message: 'must be true or false' })
  enabled?: boolean;
}

export class UpdateWebhookRequest {
  @ApiPropertyOptional({ maxLength: MAX_URL, description: URL_RULES })
  @MayBeAbsent()
  @IsPlainText(1, MAX_URL)
  url?: string;

  @ApiPropertyOptional({ type: String, nullable: true, maxLength: 200 })
  @MayBeNull()
  @IsName(1, 200)
  description?: string | null;

  @ApiPropertyOptional({ enum: EVENT_TYPES, isArray: true, description: EVENTS })
  @AreEventTypes()
  events?: string[];

  @ApiPropertyOptional()
  @MayBeAbsent()
  @IsBoolean({ message: 'must be true or false' })
  enabled?: boolean;
}

export class RotateWebhookSecretRequest {
  @ApiPropertyOptional({
    minimum: 0,
    maximum: MAX_OVERLAP_SECONDS,
    default: 86_400,
    description: 'How long the previous secret keeps signing beside the new one. 0: it stops at once.',
  })
  @MayBeAbsent()
  @IsInt({ message: 'must be a whole number' })
  @Min(0, { message: 'must be at least 0' })
  @Max(MAX_OVERLAP_SECONDS, { message: `must be at most ${String(MAX_OVERLAP_SECONDS)}` })
  overlapSeconds?: number;
}
