import { applyDecorators, Injectable, type PipeTransform } from '@nestjs/common';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import {
  ArrayMaxSize,
  ArrayUnique,
  IsArray,
  IsIn,
  IsInt,
  IsString,
  Matches,
  Max,
  Min,
  ValidateBy,
  type ValidationArguments,
} from 'class-validator';
import { PageCursor, PageLimit } from '../common/api.ts';
import { InvalidInputError } from '../common/errors.ts';
import {
  IsDateTime,
  IsEmailAddress,
  IsPlainText,
  IsQueryInteger,
  MayBeAbsent,
  MayBeNull,
} from '../common/validation.ts';
import { parseNetworks } from '../config/networks.ts';
import { CHANNEL_USER_STATUSES, type ChannelUserStatus } from './channel-user.entity.ts';

const SORTS = ['username', '-username', 'createdAt', '-createdAt', 'lastTokenAt', '-lastTokenAt'] as const;
export type Sort = (typeof SORTS)[number];

const SCOPE = /^[a-z][a-z0-9_-]{0,63}(:[a-z][a-z0-9_-]{0,63})?$/;
const ONE_DAY = 86_400;
const TEN_YEARS = 10 * 365 * ONE_DAY;

const IsNetwork = (): PropertyDecorator =>
  ValidateBy(
    {
      name: 'isNetwork',
      validator: {
        validate: (value: unknown) =>
          typeof value === 'string' && value !== '' && !/[\s,]/.test(value) && parseNetworks(value) !== undefined,
      },
    },
    { each: true, message: 'each must be an IP address or a CIDR network, such as 192.0.2.0/24 or 2001:db8::/32' },
  );

const DELIVERIES = ['password', 'link'] as const;

/** What becomes of a new password. */
export interface Delivery {
  deliver?: (typeof DELIVERIES)[number];
  linkTtlSeconds?: number;
}

const Deliver = (): PropertyDecorator =>
  applyDecorators(
    ApiPropertyOptional({
      enum: DELIVERIES,
      default: 'password',
      description: '`link`: the answer has a one-time link for the partner in place of the password.',
    }),
    MayBeAbsent(),
    IsIn(DELIVERIES, { message: `must be one of ${DELIVERIES.join(', ')}` }),
  );

const LinkTtlSeconds = (): PropertyDecorator =>
  applyDecorators(
    ApiPropertyOptional({
      minimum: 300,
      maximum: 30 * ONE_DAY,
      default: 3 * ONE_DAY,
      description: 'How long the link works; only with `deliver: "link"`.',
    }),
    MayBeAbsent(),
    IsInt({ message: 'must be a whole number' }),
    Min(300, { message: 'must be at least 300' }),
    Max(30 * ONE_DAY, { message: `must be at most ${String(30 * ONE_DAY)}` }),
    ValidateBy(
      {
        name: 'onlyWithLink',
        validator: {
          validate: (_, args?: ValidationArguments) => (args?.object as Delivery | undefined)?.deliver === 'link',
        },
      },
      { message: 'goes only with deliver: "link"' },
    ),
  );

/** What staff may set at any time. */
class ChannelUserFields {
  @ApiPropertyOptional({ type: String, format: 'email', nullable: true, example: 'ops@blue.example' })
  @MayBeNull()
  @IsEmailAddress()
  contactEmail?: string | null;

  @ApiPropertyOptional({ type: [String], example: ['calendar:write', 'property:read'] })
  @MayBeAbsent()
  @IsArray({ message: 'must be a list' })
  @ArrayMaxSize(100, { message: 'must have at most 100 entries' })
  @ArrayUnique({ message: 'must not repeat an entry' })
  @IsString({ each: true, message: 'each must be text' })
  @Matches(SCOPE, { each: true, message: 'each must be name or name:name in lower case' })
  scopes?: string[];

  @ApiPropertyOptional({ minimum: 60, maximum: ONE_DAY, default: 3600, description: 'Life of a token.' })
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

  @ApiPropertyOptional({ type: [String], example: ['192.0.2.0/24'], description: 'Empty means anywhere.' })
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

  @ApiPropertyOptional({ type: String, nullable: true, maxLength: 4000 })
  @MayBeNull()
  @IsPlainText(0, 4000, { lines: true })
  notes?: string | null;
}

export class UpdateChannelUserRequest extends ChannelUserFields {
  @ApiPropertyOptional({ minLength: 1, maxLength: 200, example: 'Blue Channel Manager' })
  @MayBeAbsent()
  @IsPlainText(1, 200)
  displayName?: string;
}

const DisplayName = (): PropertyDecorator =>
  applyDecorators(ApiProperty({ minLength: 1, maxLength: 200, example: 'Blue Channel Manager' }), IsPlainText(1, 200));

const USERNAME = /^[A-Za-z0-9._@-]{3,64}$/;
const USERNAME_MESSAGE = 'must be 3 to 64 of ASCII letters, digits, and . _ - @';

const Username = (): PropertyDecorator =>
  applyDecorators(
    ApiProperty({ minLength: 3, maxLength: 64, pattern: USERNAME.source, example: 'blue-channel' }),
    IsString({ message: 'must be text' }),
    Matches(USERNAME, { message: USERNAME_MESSAGE }),
  );

/** A username in the path. */
@Injectable()
export class UsernamePipe implements PipeTransform {
  transform(value: string): string {
    if (!USERNAME.test(value)) throw new InvalidInputError([{ field: 'username', messages: [USERNAME_MESSAGE] }]);
    return value;
  }
}

/** Everything that may be said about an account that does not exist yet. */
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

/** Which channel users: all that every given filter lets through. */
export class ChannelUserFilterQuery {
  @ApiPropertyOptional({ description: 'Part of the username, display name or e-mail; case makes no difference.' })
  @MayBeAbsent()
  @IsPlainText(0, 200)
  q?: string;

  @ApiPropertyOptional({ enum: CHANNEL_USER_STATUSES })
  @MayBeAbsent()
  @IsIn(CHANNEL_USER_STATUSES, { message: `must be one of ${CHANNEL_USER_STATUSES.join(', ')}` })
  status?: ChannelUserStatus;

  @ApiPropertyOptional({ example: 'calendar:write', description: 'Has this scope.' })
  @MayBeAbsent()
  @IsString()
  @Matches(SCOPE, { message: 'must be name or name:name in lower case' })
  scope?: string;

  @ApiPropertyOptional({
    minimum: 1,
    maximum: 365,
    description: 'A live credential, or the account, expires within so many days.',
  })
  @MayBeAbsent()
  @IsQueryInteger(1, 365)
  expiringWithinDays?: number;

  @ApiPropertyOptional({
    minimum: 1,
    maximum: 365,
    description: 'Was created before, and obtained no token in, the last so many days.',
  })
  @MayBeAbsent()
  @IsQueryInteger(1, 365)
  silentForDays?: number;

  @ApiPropertyOptional({
    enum: ['true'],
    description: 'Was refused in the last 24 hours, and obtained no token after the last refusal.',
  })
  @MayBeAbsent()
  @IsIn(['true'], { message: 'must be true, or absent' })
  failing?: 'true';
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

  @ApiProperty({ type: String, nullable: true })
  notes!: string | null;

  @ApiProperty({ type: String, format: 'date-time' })
  createdAt!: Date;

  @ApiProperty({ type: String, format: 'date-time' })
  updatedAt!: Date;

  @ApiProperty({ type: String, format: 'date-time', nullable: true, description: 'Exact to about a minute.' })
  lastTokenAt!: Date | null;

  @ApiProperty({ description: 'Counts what staff changed; the ETag is this number in quotes.' })
  version!: number;
}

export class ChannelUserPageDto {
  @ApiProperty({ type: [ChannelUserDto] })
  items!: ChannelUserDto[];

  @ApiProperty({ type: Number, nullable: true, description: 'Exact up to 10000, `null` above.' })
  total!: number | null;

  @ApiProperty({ type: String, nullable: true })
  nextCursor!: string | null;
}

export class CreateCredentialRequest {
  @ApiPropertyOptional({ minLength: 1, maxLength: 100, example: 'production' })
  @MayBeAbsent()
  @IsPlainText(1, 100)
  label?: string;

  @ApiPropertyOptional({ type: String, format: 'date-time', nullable: true })
  @MayBeNull()
  @IsDateTime()
  expiresAt?: string | null;

  @ApiPropertyOptional({
    type: 'integer',
    nullable: true,
    minimum: 0,
    maximum: TEN_YEARS,
    default: ONE_DAY,
    description:
      'When the other live credentials expire, never later than they would have; 0 at once, null not at all.',
  })
  @MayBeNull()
  @IsInt({ message: 'must be a whole number or null' })
  @Min(0, { message: 'must be at least 0' })
  @Max(TEN_YEARS, { message: `must be at most ${String(TEN_YEARS)}` })
  retireOthersInSeconds?: number | null;

  @Deliver()
  deliver?: Delivery['deliver'];

  @LinkTtlSeconds()
  linkTtlSeconds?: number;
}

export class CredentialDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty({ example: 'initial' })
  label!: string;

  @ApiProperty({
    type: String,
    nullable: true,
    example: '3f2a90bc',
    description: 'First 8 hexadecimal digits of the SHA-256 of the password; `null` unless Latchkey generated it.',
  })
  fingerprint!: string | null;

  @ApiProperty({ enum: ['active', 'expired', 'revoked'] })
  status!: string;

  @ApiProperty({ type: String, format: 'date-time' })
  createdAt!: Date;

  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  expiresAt!: Date | null;

  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  revokedAt!: Date | null;

  @ApiProperty({ type: String, format: 'date-time', nullable: true, description: 'Exact to about a minute.' })
  lastUsedAt!: Date | null;

  @ApiProperty({ type: String, nullable: true, description: 'The address it was used from then.' })
  lastUsedAddress!: string | null;

  @ApiProperty({ type: String, nullable: true, description: 'The user agent it was used with then.' })
  lastUsedUserAgent!: string | null;
}

export class CredentialListDto {
  @ApiProperty({ type: [CredentialDto] })
  items!: CredentialDto[];
}

/** With the password, this once; without it when a link shows it. */
export class NewCredentialDto extends CredentialDto {
  @ApiPropertyOptional({
    format: 'uuid',
    description: 'Shown this once; nobody can read it again. Absent with `deliver: "link"`.',
  })
  password?: string;
}

class NewHandoverDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty({ type: String, format: 'date-time', description: 'Not after the credential expires.' })
  expiresAt!: Date;
}

export class NewCredentialAnswer {
  @ApiProperty()
  credential!: NewCredentialDto;

  @ApiPropertyOptional({
    format: 'uri',
    example: 'https://partners.example/handover#wUmYgRcXHBhD9cPCrlrYDLP1UnTZCwkqNR8vJLxRI5o',
    description: 'With `deliver: "link"`: for the partner. Shows the password once; nobody can read it again.',
  })
  handoverUrl?: string;

  @ApiPropertyOptional({ type: NewHandoverDto, description: 'With `deliver: "link"`.' })
  handover?: NewHandoverDto;
}

export class NewChannelUserAnswer extends NewCredentialAnswer {
  @ApiProperty()
  channelUser!: ChannelUserDto;
}

export class ChannelUserAnswer {
  @ApiProperty()
  channelUser!: ChannelUserDto;
}
