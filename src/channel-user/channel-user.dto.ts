import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { ArrayMaxSize, ArrayUnique, IsArray, IsIn, IsInt, IsString, Matches, Max, Min } from 'class-validator';
import { PageCursor, PageLimit } from '../platform/api/openapi.decorators.ts';
import {
  IsDateTime,
  IsEmailAddress,
  IsName,
  IsPlainText,
  IsQueryInteger,
  MayBeAbsent,
  MayBeNull,
} from '../platform/api/validation.ts';
import { EXPORT_FORMATS, type ExportFormat } from './channel-user-export.ts';
import { CHANNEL_USER_STATUSES, type ChannelUserStatus } from './model/channel-user.entity.ts';
import { DisplayName, IsNetwork, ONE_DAY, SCOPE, SelfService, Username } from './model/channel-user.rules.ts';
import { Deliver, type Delivery, IssuedCredentialDto, LinkTtlSeconds } from './credential/credential.dto.ts';

const SORTS = ['username', '-username', 'createdAt', '-createdAt', 'lastTokenAt', '-lastTokenAt'] as const;
export type Sort = (typeof SORTS)[number];

/** The fields that staff may set at any time. */
class ChannelUserFields {
  @ApiPropertyOptional({ type: String, format: 'email', nullable: true, example: 'ops@blue.example' })
  @MayBeNull()
  @IsEmailAddress()
  contactEmail?: string | null;

  @ApiPropertyOptional({
    type: String,
    nullable: true,
    minLength: 1,
    maxLength: 128,
    example: 'CRM-10293',
    description: 'Id of the partner in your CRM. Several channel users may share it.',
  })
  @MayBeNull()
  @IsName(1, 128)
  externalId?: string | null;

  @ApiPropertyOptional({ type: [String], example: ['calendar:write', 'property:read'] })
  @MayBeAbsent()
  @IsArray({ message: 'must be a list' })
  @ArrayMaxSize(100, { message: 'must have at most 100 entries' })
  @ArrayUnique({ message: 'must not repeat an entry' })
  @IsString({ each: true, message: 'each must be text' })
  @Matches(SCOPE, { each: true, message: 'each must be name or name:name in lower case' })
  scopes?: string[];

  @ApiPropertyOptional({ minimum: 60, maximum: ONE_DAY, default: 3600, description: 'Lifetime of a token.' })
  @MayBeAbsent()
  @IsInt({ message: 'must be a whole number' })
  @Min(60, { message: 'must be at least 60' })
  @Max(ONE_DAY, { message: `must be at most ${String(ONE_DAY)}` })
  tokenTtlSeconds?: number;

  @ApiPropertyOptional({ minimum: 1, maximum: 1_000_000, default: 60 })
  @MayBeAbsent()
  @IsInt({ message: 'must be a whole number' })
  @Min(1, { message: 'must be at least 1' })
  @Max(1_000_000, { message: 'must be at most 1000000' })
  tokensPerMinute?: number;

  @ApiPropertyOptional({
    type: [String],
    example: ['192.0.2.0/24'],
    description: 'Addresses and networks that may sign in. Empty: any address.',
  })
  @MayBeAbsent()
  @IsArray({ message: 'must be a list' })
  @ArrayMaxSize(100, { message: 'must have at most 100 entries' })
  @ArrayUnique({ message: 'must not repeat an entry' })
  @IsNetwork()
  allowedIps?: string[];

  @ApiPropertyOptional({ type: String, format: 'date-time', nullable: true })
  @MayBeNull()
  @IsDateTime()
  expiresAt?: string | null;

  @SelfService()
  selfService?: boolean;

  @ApiPropertyOptional({ type: String, nullable: true, maxLength: 4000 })
  @MayBeNull()
  @IsPlainText(0, 4000, { lines: true })
  notes?: string | null;
}

export class UpdateChannelUserRequest extends ChannelUserFields {
  @ApiPropertyOptional({ minLength: 1, maxLength: 200, example: 'Blue Channel Manager' })
  @MayBeAbsent()
  @IsName(1, 200)
  displayName?: string;
}

/** The fields that a request may set for a new account. */
export class ChannelUserDescription extends ChannelUserFields {
  @Username()
  username!: string;

  @DisplayName()
  displayName!: string;
}

export class CreateChannelUserRequest extends ChannelUserDescription {
  @Deliver()
  deliver?: Delivery['deliver'];

  @LinkTtlSeconds()
  linkTtlSeconds?: number;
}

export class PutChannelUserRequest extends ChannelUserFields {
  @DisplayName()
  displayName!: string;

  @Deliver()
  deliver?: Delivery['deliver'];

  @LinkTtlSeconds()
  linkTtlSeconds?: number;
}

export class ReasonRequest {
  @ApiProperty({ minLength: 1, maxLength: 500, example: 'Contract ended' })
  @IsPlainText(1, 500)
  reason!: string;
}

export class OptionalReasonRequest {
  @ApiPropertyOptional({ minLength: 1, maxLength: 500 })
  @MayBeAbsent()
  @IsPlainText(1, 500)
  reason?: string;
}

/** The filters of lists and exports. A channel user must match all of them. */
export class ChannelUserFilterQuery {
  @ApiPropertyOptional({
    description:
      'Searches for a part of the username, display name or e-mail, regardless of case. Without three letters ' +
      'or digits in a row, it matches only the beginning of the username.',
  })
  @MayBeAbsent()
  @IsPlainText(0, 200)
  q?: string;

  @ApiPropertyOptional({ enum: CHANNEL_USER_STATUSES })
  @MayBeAbsent()
  @IsIn(CHANNEL_USER_STATUSES, { message: `must be one of ${CHANNEL_USER_STATUSES.join(', ')}` })
  status?: ChannelUserStatus;

  @ApiPropertyOptional({ example: 'calendar:write', description: 'Only channel users with this scope.' })
  @MayBeAbsent()
  @IsString()
  @Matches(SCOPE, { message: 'must be name or name:name in lower case' })
  scope?: string;

  @ApiPropertyOptional({
    minLength: 1,
    maxLength: 128,
    example: 'CRM-10293',
    description: 'Only channel users with exactly this external id.',
  })
  @MayBeAbsent()
  @IsName(1, 128)
  externalId?: string;

  @ApiPropertyOptional({
    minimum: 1,
    maximum: 365,
    description:
      'Only channel users that expire within this many days, or have a live, not yet replaced credential that ' +
      'does.',
  })
  @MayBeAbsent()
  @IsQueryInteger(1, 365)
  expiringWithinDays?: number;

  @ApiPropertyOptional({
    minimum: 1,
    maximum: 365,
    description: 'Only channel users created more than this many days ago that have obtained no token since.',
  })
  @MayBeAbsent()
  @IsQueryInteger(1, 365)
  silentForDays?: number;

  @ApiPropertyOptional({
    enum: ['true'],
    description: 'Only channel users refused in the last 24 hours that have obtained no token since.',
  })
  @MayBeAbsent()
  @IsIn(['true'], { message: 'must be true, or be left out' })
  failing?: 'true';
}

export class ExportChannelUsersQuery extends ChannelUserFilterQuery {
  @ApiPropertyOptional({ enum: EXPORT_FORMATS, default: 'csv' })
  @MayBeAbsent()
  @IsIn(EXPORT_FORMATS, { message: `must be one of ${EXPORT_FORMATS.join(', ')}` })
  format?: ExportFormat;
}

export class ListChannelUsersQuery extends ChannelUserFilterQuery {
  @ApiPropertyOptional({ enum: SORTS, default: 'username' })
  @MayBeAbsent()
  @IsIn(SORTS, { message: `must be one of ${SORTS.join(', ')}` })
  sort?: Sort;

  @PageLimit()
  limit?: number;

  @PageCursor()
  cursor?: string;
}

export class ChannelUserDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty({ example: 'blue-channel' })
  username!: string;

  @ApiProperty({ example: 'Blue Channel Manager' })
  displayName!: string;

  @ApiProperty({ type: String, format: 'email', nullable: true })
  contactEmail!: string | null;

  @ApiProperty({ type: String, nullable: true, description: 'Id of the partner in your CRM.' })
  externalId!: string | null;

  @ApiProperty({ enum: CHANNEL_USER_STATUSES })
  status!: ChannelUserStatus;

  @ApiProperty({ type: [String] })
  scopes!: string[];

  @ApiProperty()
  tokenTtlSeconds!: number;

  @ApiProperty()
  tokensPerMinute!: number;

  @ApiProperty({ type: [String] })
  allowedIps!: string[];

  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  expiresAt!: Date | null;

  @ApiProperty({ description: 'Whether it may rotate its passwords by itself (`POST /me/credentials`).' })
  selfService!: boolean;

  @ApiProperty({ type: String, nullable: true })
  notes!: string | null;

  @ApiProperty({ type: String, format: 'date-time' })
  createdAt!: Date;

  @ApiProperty({ type: String, format: 'date-time' })
  updatedAt!: Date;

  @ApiProperty({ type: String, format: 'date-time', nullable: true, description: 'Accurate to about a minute.' })
  lastTokenAt!: Date | null;

  @ApiProperty({ description: 'Rises with every change by staff. The ETag is this number in double quotes.' })
  version!: number;
}

export class ChannelUserPageDto {
  @ApiProperty({ type: [ChannelUserDto] })
  items!: ChannelUserDto[];

  @ApiProperty({ type: Number, nullable: true, description: 'Exact up to 10000; `null` above.' })
  total!: number | null;

  @ApiProperty({ type: String, nullable: true })
  nextCursor!: string | null;
}

export class NewChannelUserDto extends IssuedCredentialDto {
  @ApiProperty()
  channelUser!: ChannelUserDto;
}

export class ExistingChannelUserDto {
  @ApiProperty()
  channelUser!: ChannelUserDto;
}
