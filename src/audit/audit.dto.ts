import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn, IsString, IsUUID, Matches } from 'class-validator';
import { ACTOR_TYPES } from '../platform/common/principal.ts';
import { PageCursor, PageLimit } from '../platform/api/openapi.decorators.ts';
import { RESOURCE_TYPE } from '../platform/api/security.ts';
import { IsDateTime, IsPlainText, MayBeAbsent } from '../platform/api/validation.ts';

/** Filters of the audit trail. An event must match every filter that is given. */
export class AuditFilterQuery {
  @ApiPropertyOptional({
    description:
      'Id of a staff member, service account or channel user, or a type of actor: `staff`, `service-account`, ' +
      '`channel-user`, `cli` or `system`.',
  })
  @MayBeAbsent()
  @IsString()
  @Matches(/^(staff|service-account|channel-user|cli|system|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/i, {
    message: `must be the id of a staff member, service account or channel user, or one of ${ACTOR_TYPES.join(', ')}`,
  })
  actor?: string;

  @ApiPropertyOptional({ example: 'channel-user.suspended' })
  @MayBeAbsent()
  @IsPlainText(1, 64)
  action?: string;

  @ApiPropertyOptional({
    format: 'uuid',
    description:
      'Id of what was changed: a channel user, staff member, service account, key, token, the settings, or a resource ' +
      'of a module.',
  })
  @MayBeAbsent()
  @IsUUID('all', { message: 'must be a UUID' })
  target?: string;

  @ApiPropertyOptional({ format: 'date-time', description: 'Only events at or after this time.' })
  @MayBeAbsent()
  @IsDateTime()
  from?: string;

  @ApiPropertyOptional({ format: 'date-time', description: 'Only events before this time.' })
  @MayBeAbsent()
  @IsDateTime()
  to?: string;
}

const EXPORT_FORMATS = ['ndjson', 'csv'] as const;

export class ExportAuditEventsQuery extends AuditFilterQuery {
  @ApiPropertyOptional({
    enum: EXPORT_FORMATS,
    default: 'ndjson',
    description: '`csv` suits spreadsheets. Only `ndjson` can be verified.',
  })
  @MayBeAbsent()
  @IsIn(EXPORT_FORMATS, { message: `must be one of ${EXPORT_FORMATS.join(', ')}` })
  format?: (typeof EXPORT_FORMATS)[number];
}

export class ListAuditEventsQuery extends AuditFilterQuery {
  @PageLimit()
  limit?: number;

  @PageCursor()
  cursor?: string;
}

class AuditActorDto {
  @ApiProperty({
    enum: ACTOR_TYPES,
    description: '`channel-user`: the partner itself. `system`: Latchkey, or somebody whom it does not know.',
  })
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
    description:
      '`channel-user`, `staff`, `service-account`, `signing-key`, `token`, `settings`, or a resource type of a module.',
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
    description: 'Maps each changed field to [before, after]. Secrets are masked.',
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
  @ApiProperty({ type: 'integer', description: 'Sequence of the last event; 0 if there is none.' })
  sequence!: number;

  @ApiProperty({
    pattern: '^[0-9a-f]{64}$',
    description: 'HMAC-SHA-256 over the last event and the MAC of the event before it.',
  })
  mac!: string;

  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  at!: Date | null;
}

class ChainVerificationDto {
  @ApiProperty({ type: String, format: 'date-time' })
  at!: Date;

  @ApiProperty({ type: 'integer', description: 'Sequence of the last event that was verified.' })
  sequence!: number;

  @ApiProperty()
  ok!: boolean;

  @ApiProperty({ type: String, nullable: true, description: 'The first problem found; `null` if there is none.' })
  problem!: string | null;
}

export class AuditChainDto {
  @ApiProperty()
  head!: ChainHeadDto;

  @ApiProperty({
    type: ChainVerificationDto,
    nullable: true,
    description: 'Result of the last verification; `null` if there was none.',
  })
  verified!: ChainVerificationDto | null;

  @ApiProperty({ description: 'Whether a verification is running on any instance.' })
  verifying!: boolean;
}
