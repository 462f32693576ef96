import { applyDecorators } from '@nestjs/common';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { ArrayMaxSize, ArrayUnique, IsArray, IsBoolean, IsIn, IsInt, Max, Min } from 'class-validator';
import { IsPlainText, MayBeAbsent, MayBeNull } from '../common/validation.ts';
import { EVENT_TYPES } from './notice.entity.ts';

const MAX_URL = 2048;
const MAX_OVERLAP_SECONDS = 7 * 86_400;
const EVENTS = 'Types of notices; `[]`: all of them, those to come too.';
const URL_RULES =
  'https on port 443, without username and password, at an address of the Internet; `WEBHOOK_ALLOWED_NETWORKS` names exceptions.';

export class WebhookDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty({ format: 'uri' })
  url!: string;

  @ApiProperty({ type: String, nullable: true })
  description!: string | null;

  @ApiProperty({ enum: EVENT_TYPES, isArray: true, description: EVENTS })
  events!: string[];

  @ApiProperty({ description: 'While it is not, nothing new is sent, and what waits goes on waiting.' })
  enabled!: boolean;

  @ApiProperty({ type: String, enum: ['gone'], nullable: true, description: '`gone`: the receiver answered 410.' })
  disabledReason!: string | null;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    description: 'Until then the secret before this one signs too.',
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
    description: 'What signs, in the form of Standard Webhooks. Shown this once.',
  })
  secret!: string;
}

/** From the innermost outwards, as decorators that stand above each other apply. */
const AreEventTypes = (): PropertyDecorator =>
  applyDecorators(
    IsIn(EVENT_TYPES, { each: true, message: `must be of ${EVENT_TYPES.join(', ')}` }),
    ArrayMaxSize(EVENT_TYPES.length, { message: 'must not name more types than there are' }),
    ArrayUnique({ message: 'must not name a type twice' }),
    IsArray({ message: 'must be a list' }),
    MayBeAbsent(),
  );

export class CreateWebhookRequest {
  @ApiProperty({ maxLength: MAX_URL, example: 'https://hooks.example.com/latchkey', description: URL_RULES })
  @IsPlainText(1, MAX_URL)
  url!: string;

  @ApiPropertyOptional({ type: String, nullable: true, maxLength: 200 })
  @MayBeNull()
  @IsPlainText(1, 200)
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
  @IsPlainText(1, 200)
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
    description: 'How long the present secret signs beside the new one; 0: not any more.',
  })
  @MayBeAbsent()
  @IsInt({ message: 'must be a whole number' })
  @Min(0, { message: 'must be at least 0' })
  @Max(MAX_OVERLAP_SECONDS, { message: `must be at most ${String(MAX_OVERLAP_SECONDS)}` })
  overlapSeconds?: number;
}
