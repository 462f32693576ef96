import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { ArrayMaxSize, ArrayMinSize, ArrayUnique, IsArray, IsString, Matches, ValidateBy } from 'class-validator';
import { PageCursor, PageLimit } from '../../platform/api/openapi.decorators.ts';
import { isUuid } from '../../platform/common/uuid.ts';
import { RESOURCE_TYPE } from '../../platform/api/security.ts';
import { IsDateTime, isPlainText, IsPlainText, MayBeAbsent, MayBeNull } from '../../platform/api/validation.ts';

const TYPE_MESSAGE = 'must be a name of at most 32 lower-case letters, digits and hyphens';
const PERMISSION = /^[a-z][a-z0-9:_-]{0,63}$/;
export const MAX_RESOURCE_ID = 128;

export const isResourceId = (value: unknown): value is string => isPlainText(value, 1, MAX_RESOURCE_ID);

/** Path segments that clients and proxies remove from a URL, encoded or not (RFC 3986 §6.2.2.3). */
const DOTS = new Set(['.', '..']);

export const isPathSegment = (value: string): boolean => !DOTS.has(value);
export const PATH_SEGMENT_MESSAGE = 'must not be "." or "..", which cannot be part of a URL';

const IsPathSegment = (): PropertyDecorator =>
  ValidateBy(
    { name: 'isPathSegment', validator: { validate: (value: unknown) => isPathSegment(value as string) } },
    { each: true, message: `each ${PATH_SEGMENT_MESSAGE}` },
  );

/** The stored form of a resource id: UUIDs in lower case, since case does not matter in a UUID (RFC 9562 §4). */
export const asKept = (resourceId: string): string => (isUuid(resourceId) ? resourceId.toLowerCase() : resourceId);

/** Grants in one call. */
const MAX_GRANTS = 1_000;

/** What a channel user may do with a resource besides seeing it, and until when. */
export class GrantTerms {
  @ApiPropertyOptional({
    type: [String],
    default: [],
    example: ['write'],
    description: 'Permissions beyond seeing the resource, as the module defines them.',
  })
  @MayBeAbsent()
  @IsArray({ message: 'must be a list' })
  @ArrayMaxSize(20, { message: 'must have at most 20 entries' })
  @ArrayUnique({ message: 'must not repeat an entry' })
  @IsString({ each: true, message: 'each must be text' })
  @Matches(PERMISSION, { each: true, message: 'each must be a lower-case name' })
  permissions?: string[];

  @ApiPropertyOptional({ type: String, format: 'date-time', nullable: true, default: null })
  @MayBeNull()
  @IsDateTime()
  expiresAt?: string | null;
}

export class GrantRequest extends GrantTerms {
  @ApiProperty({ pattern: RESOURCE_TYPE.source, example: 'property' })
  @IsString({ message: 'must be text' })
  @Matches(RESOURCE_TYPE, { message: TYPE_MESSAGE })
  resourceType!: string;

  @ApiProperty({
    type: [String],
    example: ['7', '12'],
    description: 'Ids of the resources, as the module defines them.',
  })
  @IsArray({ message: 'must be a list' })
  @ArrayMinSize(1, { message: 'must have at least one entry' })
  @ArrayMaxSize(MAX_GRANTS, { message: `must have at most ${String(MAX_GRANTS)} entries` })
  @ArrayUnique({ message: 'must not repeat an entry' })
  @IsPlainText(1, MAX_RESOURCE_ID, { each: true })
  @IsPathSegment()
  resourceIds!: string[];
}

/** Identifies a grant of a channel user. */
export class WithdrawGrantQuery {
  @ApiProperty({ example: 'property' })
  @Matches(RESOURCE_TYPE, { message: TYPE_MESSAGE })
  resourceType!: string;

  @ApiProperty({ example: '7' })
  @IsPlainText(1, MAX_RESOURCE_ID)
  resourceId!: string;
}

class GrantFilter {
  @PageLimit()
  limit?: number;

  @PageCursor()
  cursor?: string;
}

export class ListGrantsQuery extends GrantFilter {
  @ApiPropertyOptional({ description: 'Only resources of this type.', example: 'property' })
  @MayBeAbsent()
  @Matches(RESOURCE_TYPE, { message: TYPE_MESSAGE })
  resourceType?: string;
}

export class ListGranteesQuery extends GrantFilter {
  @ApiProperty({ example: 'property' })
  @Matches(RESOURCE_TYPE, { message: TYPE_MESSAGE })
  resourceType!: string;

  @ApiProperty({ example: '7' })
  @IsPlainText(1, MAX_RESOURCE_ID)
  resourceId!: string;
}

export class GrantDto {
  @ApiProperty({ example: 'property' })
  resourceType!: string;

  @ApiProperty({ example: '7' })
  resourceId!: string;

  @ApiProperty({ type: [String], example: ['write'] })
  permissions!: string[];

  @ApiProperty({
    type: String,
    format: 'uuid',
    nullable: true,
    description: 'The staff member or service account that granted it last.',
  })
  grantedBy!: string | null;

  @ApiProperty({ format: 'date-time' })
  grantedAt!: Date;

  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  expiresAt!: Date | null;
}

export class GrantPageDto {
  @ApiProperty({ type: [GrantDto], description: 'Sorted by type and id.' })
  items!: GrantDto[];

  @ApiProperty({ type: String, nullable: true })
  nextCursor!: string | null;
}

class GranteeDto extends GrantDto {
  @ApiProperty({ format: 'uuid' })
  channelUserId!: string;

  @ApiProperty({ example: 'blue-channel' })
  username!: string;

  @ApiProperty({ example: 'Blue Channel Manager' })
  displayName!: string;
}

export class GranteePageDto {
  @ApiProperty({ type: [GranteeDto] })
  items!: GranteeDto[];

  @ApiProperty({ type: String, nullable: true })
  nextCursor!: string | null;
}

export class GrantedDto {
  @ApiProperty({ description: 'Number of new grants.' })
  given!: number;

  @ApiProperty({ description: 'Number of existing grants whose terms changed.' })
  changed!: number;
}

class ResourceTypeDto {
  @ApiProperty({ example: 'property' })
  name!: string;
}

export class ResourceTypeListDto {
  @ApiProperty({
    type: [ResourceTypeDto],
    description: 'Sorted by name. Types granted through a parent, as rooms through their property, are not listed.',
  })
  items!: ResourceTypeDto[];
}
