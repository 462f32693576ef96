import { applyDecorators } from '@nestjs/common';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayUnique,
  IsArray,
  IsIn,
  IsInt,
  IsObject,
  IsUUID,
  Max,
  Min,
  ValidateNested,
} from 'class-validator';
import { IsNetwork, ONE_DAY, TEN_YEARS } from '../../channel-user/model/channel-user.rules.ts';
import { IsDateTime, IsName, MayBeAbsent, MayBeNull } from '../../platform/api/validation.ts';
import { type Role, ROLES } from '../../platform/common/principal.ts';
import { SERVICE_ACCOUNT_STATUSES, type ServiceAccountStatus } from './service-account.entity.ts';
import { LIVE_KEY_STATUSES, PENDING_KEY_DAYS } from './service-account-key.entity.ts';

const MAX_NAME = 100;
const IsRole = (): PropertyDecorator => IsIn(ROLES, { message: `must be one of ${ROLES.join(', ')}` });

const AllowedIps = (): PropertyDecorator =>
  applyDecorators(
    ApiPropertyOptional({
      type: [String],
      example: ['192.0.2.0/24'],
      description: 'Addresses and networks that may use its keys. Empty: any address.',
    }),
    MayBeAbsent(),
    IsArray({ message: 'must be a list' }),
    ArrayMaxSize(100, { message: 'must have at most 100 entries' }),
    ArrayUnique({ message: 'must not repeat an entry' }),
    IsNetwork(),
  );

export class CreateServiceAccountRequest {
  @ApiProperty({ minLength: 1, maxLength: MAX_NAME, example: 'provisioning', description: 'Unique in any case.' })
  @IsName(1, MAX_NAME)
  name!: string;

  @ApiProperty({ enum: ROLES })
  @IsRole()
  role!: Role;

  @ApiPropertyOptional({ type: String, format: 'date-time', nullable: true })
  @MayBeNull()
  @IsDateTime()
  expiresAt?: string | null;

  @AllowedIps()
  allowedIps?: string[];
}

export class UpdateServiceAccountRequest {
  @ApiPropertyOptional({ minLength: 1, maxLength: MAX_NAME })
  @MayBeAbsent()
  @IsName(1, MAX_NAME)
  name?: string;

  @ApiPropertyOptional({ enum: ROLES })
  @MayBeAbsent()
  @IsRole()
  role?: Role;

  @ApiPropertyOptional({ type: String, format: 'date-time', nullable: true })
  @MayBeNull()
  @IsDateTime()
  expiresAt?: string | null;

  @AllowedIps()
  allowedIps?: string[];
}

const AFTER = ['first-use', 'now'] as const;

/** When the other keys end: counted from the first use of the new one, or from its creation. */
export class RetireOtherKeysRequest {
  @ApiPropertyOptional({
    enum: AFTER,
    default: 'first-use',
    description:
      '`first-use`: the new key is pending, and the others go on until it opens its first route. `now`: it is active ' +
      'at once.',
  })
  @MayBeAbsent()
  @IsIn(AFTER, { message: `must be one of ${AFTER.join(', ')}` })
  after?: (typeof AFTER)[number];

  @ApiPropertyOptional({
    type: 'integer',
    minimum: 0,
    maximum: TEN_YEARS,
    default: ONE_DAY,
    description: 'Seconds from then on until the others end. 0: at once.',
  })
  @MayBeAbsent()
  @IsInt({ message: 'must be a whole number' })
  @Min(0, { message: 'must be at least 0' })
  @Max(TEN_YEARS, { message: `must be at most ${String(TEN_YEARS)}` })
  seconds?: number;
}

export class RotateServiceAccountRequest {
  @ApiPropertyOptional({ type: RetireOtherKeysRequest, description: 'When the other live keys end.' })
  @MayBeAbsent()
  @IsObject({ message: 'must be an object' })
  @ValidateNested()
  @Type(() => RetireOtherKeysRequest)
  retireOthers?: RetireOtherKeysRequest;

  @ApiPropertyOptional({
    format: 'uuid',
    description: 'The pending key that the new one replaces. It is withdrawn.',
  })
  @MayBeAbsent()
  @IsUUID('all', { message: 'must be a UUID' })
  replaces?: string;
}

/** When the others end after the first use of a pending key. */
class RetireOtherKeysDto {
  @ApiProperty({ enum: ['first-use'] })
  after!: 'first-use';

  @ApiProperty({ type: 'integer' })
  seconds!: number;
}

export class ServiceAccountKeyDto {
  @ApiProperty({ format: 'uuid', description: 'Stands in the key, without hyphens: `lk_sa_<id>_…`.' })
  id!: string;

  @ApiProperty({
    enum: LIVE_KEY_STATUSES,
    description: '`pending`: works, and its first use makes it active.',
  })
  status!: (typeof LIVE_KEY_STATUSES)[number];

  @ApiProperty({ type: String, format: 'date-time' })
  createdAt!: Date;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    description: 'When it ends, once a newer key has replaced it.',
  })
  expiresAt!: Date | null;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    description:
      `While it is pending: when it is withdrawn if nobody uses it, ${String(PENDING_KEY_DAYS)} days after its ` +
      'creation. It stays if it is the only live key.',
  })
  pendingUntil!: Date | null;

  @ApiProperty({
    type: RetireOtherKeysDto,
    nullable: true,
    description: 'While it is pending: when the others end after its first use.',
  })
  retireOthers!: RetireOtherKeysDto | null;

  @ApiProperty({ type: String, format: 'date-time', nullable: true, description: 'Accurate to about a minute.' })
  lastUsedAt!: Date | null;

  @ApiProperty({ type: String, nullable: true })
  lastUsedAddress!: string | null;
}

export class ServiceAccountDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty({ example: 'provisioning' })
  name!: string;

  @ApiProperty({ enum: ROLES })
  role!: Role;

  @ApiProperty({ enum: SERVICE_ACCOUNT_STATUSES, description: 'Only an active one may call.' })
  status!: ServiceAccountStatus;

  @ApiProperty({ type: [String] })
  allowedIps!: string[];

  @ApiProperty({ type: String, format: 'date-time' })
  createdAt!: Date;

  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  expiresAt!: Date | null;

  @ApiProperty({ type: String, format: 'date-time', nullable: true, description: 'Accurate to about a minute.' })
  lastUsedAt!: Date | null;

  @ApiProperty({ type: String, nullable: true, description: 'The address of the last use.' })
  lastUsedAddress!: string | null;

  @ApiProperty({ type: [ServiceAccountKeyDto], description: 'The keys that work, newest first.' })
  keys!: ServiceAccountKeyDto[];
}

/** The answer to creating or rotating, which shows the key once. */
export class NewServiceAccountDto extends ServiceAccountDto {
  @ApiProperty({
    pattern: '^lk_sa_[0-9a-f]{32}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$',
    description: 'Shown only in this response; nobody can read it again. Sent as `Authorization: Bearer <key>`.',
  })
  key!: string;
}

export class ServiceAccountListDto {
  @ApiProperty({ type: [ServiceAccountDto], description: 'Sorted by name.' })
  items!: ServiceAccountDto[];
}
