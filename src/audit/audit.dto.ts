import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsString, IsUUID, Matches } from 'class-validator';
import { PageCursor, PageLimit } from '../common/api.ts';
import { RESOURCE_TYPE } from '../common/security.ts';
import { IsDateTime, IsPlainText, MayBeAbsent } from '../common/validation.ts';

/** Which events: all that every given filter lets through. */
export class AuditFilterQuery {
  @ApiPropertyOptional({ description: 'Id of a staff member, or `staff`, `cli` or `system`.' })
  @MayBeAbsent()
  @IsString()
  @Matches(/^(staff|cli|system|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/i, {
    message: 'must be the id of a staff member, or staff, cli or system',
  })
  actor?: string;

  @ApiPropertyOptional({ example: 'channel-user.suspended' })
  @MayBeAbsent()
  @IsPlainText(1, 64)
  action?: string;

  @ApiPropertyOptional({
    format: 'uuid',
    description: 'Id of the channel user, staff member, key, token, settings or resource of a module that was changed.',
  })
  @MayBeAbsent()
  @IsUUID('all', { message: 'must be a UUID' })
  target?: string;

  @ApiPropertyOptional({ format: 'date-time', description: 'Not before this moment.' })
  @MayBeAbsent()
  @IsDateTime()
  from?: string;

  @ApiPropertyOptional({ format: 'date-time', description: 'Before this moment.' })
  @MayBeAbsent()
  @IsDateTime()
  to?: string;
}

export class ListAuditEventsQuery extends AuditFilterQuery {
  @PageLimit()
  limit?: number;

  @PageCursor()
  cursor?: string;
}

class AuditActorDto {
  @ApiProperty({ enum: ['staff', 'cli', 'system'] })
  type!: string;

  @ApiProperty({ type: String, format: 'uuid', nullable: true })
  id!: string | null;

  @ApiProperty()
  name!: string;
}

class AuditTargetDto {
  @ApiProperty({
    pattern: RESOURCE_TYPE.source,
    example: 'channel-user',
    description: '`channel-user`, `staff`, `signing-key`, `token`, `settings`, or what a module calls its resources.',
  })
  type!: string;

  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty()
  name!: string;
}

export class AuditEventDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty({ type: String, format: 'date-time' })
  at!: Date;

  @ApiProperty()
  actor!: AuditActorDto;

  @ApiProperty({ example: 'channel-user.suspended' })
  action!: string;

  @ApiProperty()
  target!: AuditTargetDto;

  @ApiProperty({ type: String, nullable: true, description: 'The address the request came from.' })
  address!: string | null;

  @ApiProperty({ type: String, nullable: true })
  requestId!: string | null;

  @ApiProperty({ type: String, nullable: true })
  reason!: string | null;

  @ApiProperty({
    type: 'object',
    additionalProperties: { type: 'array', items: {}, minItems: 2, maxItems: 2 },
    description: 'Field → [before, after]; secrets are masked.',
    example: { status: ['active', 'suspended'] },
  })
  changes!: Record<string, [unknown, unknown]>;
}

export class AuditActionsDto {
  @ApiProperty({ type: [String], example: ['channel-user.created', 'channel-user.suspended'] })
  items!: string[];
}

export class AuditEventPageDto {
  @ApiProperty({ type: [AuditEventDto] })
  items!: AuditEventDto[];

  @ApiProperty({ type: String, nullable: true })
  nextCursor!: string | null;
}

class ChainHeadDto {
  @ApiProperty({ type: 'integer', description: 'Of the last event; 0 while there is none.' })
  sequence!: number;

  @ApiProperty({ pattern: '^[0-9a-f]{64}$', description: 'HMAC-SHA-256 over the last event and the MAC before it.' })
  mac!: string;

  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  at!: Date | null;
}

class ChainVerificationDto {
  @ApiProperty({ type: String, format: 'date-time' })
  at!: Date;

  @ApiProperty({ type: 'integer', description: 'The last event that was looked at.' })
  sequence!: number;

  @ApiProperty()
  ok!: boolean;

  @ApiProperty({ type: String, nullable: true, description: 'The first thing that does not fit.' })
  problem!: string | null;
}

export class AuditChainDto {
  @ApiProperty()
  head!: ChainHeadDto;

  @ApiProperty({ type: ChainVerificationDto, nullable: true, description: 'The last verification; `null` before any.' })
  verified!: ChainVerificationDto | null;

  @ApiProperty({ description: 'Whether a verification runs, on whichever instance.' })
  verifying!: boolean;
}
