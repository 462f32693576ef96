import { applyDecorators } from '@nestjs/common';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import {
  IsIn,
  IsInt,
  IsObject,
  IsUUID,
  Max,
  Min,
  ValidateBy,
  ValidateNested,
  type ValidationArguments,
} from 'class-validator';
import { IsDateTime, IsName, MayBeAbsent, MayBeNull } from '../../platform/api/validation.ts';
import { ONE_DAY, TEN_YEARS } from '../model/channel-user.rules.ts';
import {
  BEGINNERS,
  type Beginner,
  CREDENTIAL_STATUSES,
  type CredentialStatus,
  PENDING_DAYS,
} from '../model/credential.entity.ts';
import { NewHandoverDto } from '../handover/handover.dto.ts';

const DELIVERIES = ['password', 'link'] as const;

/** How a new password reaches the partner. */
export interface Delivery {
  deliver?: (typeof DELIVERIES)[number];
  linkTtlSeconds?: number;
}

export const Deliver = (): PropertyDecorator =>
  applyDecorators(
    ApiPropertyOptional({
      enum: DELIVERIES,
      default: 'password',
      description: '`link`: the response contains a one-time link for the partner instead of the password.',
    }),
    MayBeAbsent(),
    IsIn(DELIVERIES, { message: `must be one of ${DELIVERIES.join(', ')}` }),
  );

export const LinkTtlSeconds = (): PropertyDecorator =>
  applyDecorators(
    ApiPropertyOptional({
      minimum: 300,
      maximum: 30 * ONE_DAY,
      default: 3 * ONE_DAY,
      description: 'How long the link works. Allowed only with `deliver: "link"`.',
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
      { message: 'is allowed only with deliver: "link"' },
    ),
  );

const AFTER = ['first-use', 'now'] as const;

/** When the other credentials end: counted from the first token of the new one, or from its creation. */
export class RetireOthersRequest {
  @ApiPropertyOptional({
    enum: AFTER,
    default: 'first-use',
    description:
      '`first-use`: the new credential is pending, and the others go on until it obtains its first token. `now`: it ' +
      'is active at once.',
  })
  @MayBeAbsent()
  @IsIn(AFTER, { message: `must be one of ${AFTER.join(', ')}` })
  after?: (typeof AFTER)[number];

  @ApiPropertyOptional({
    type: 'integer',
    minimum: 0,
    maximum: TEN_YEARS,
    default: ONE_DAY,
    description: 'Seconds from then on until the others expire. 0: at once. Never extends an expiry.',
  })
  @MayBeAbsent()
  @IsInt({ message: 'must be a whole number' })
  @Min(0, { message: 'must be at least 0' })
  @Max(TEN_YEARS, { message: `must be at most ${String(TEN_YEARS)}` })
  seconds?: number;
}

/** The two forms of one field exclude each other. */
const OnlyForm = (other: keyof CreateCredentialRequest): PropertyDecorator =>
  ValidateBy(
    {
      name: 'onlyForm',
      validator: {
        validate: (_, args?: ValidationArguments) =>
          (args?.object as CreateCredentialRequest | undefined)?.[other] === undefined,
      },
    },
    { message: `cannot be combined with ${other}; send one of them` },
  );

export class CreateCredentialRequest {
  @ApiPropertyOptional({ minLength: 1, maxLength: 100, example: 'production' })
  @MayBeAbsent()
  @IsName(1, 100)
  label?: string;

  @ApiPropertyOptional({ type: String, format: 'date-time', nullable: true })
  @MayBeNull()
  @IsDateTime()
  expiresAt?: string | null;

  @ApiPropertyOptional({
    type: RetireOthersRequest,
    nullable: true,
    description: 'When the other live credentials expire. `null` is the default. Excludes `retireOthersInSeconds`.',
  })
  @MayBeNull()
  @IsObject({ message: 'must be an object' })
  @ValidateNested()
  @OnlyForm('retireOthersInSeconds')
  @Type(() => RetireOthersRequest)
  retireOthers?: RetireOthersRequest | null;

  @ApiPropertyOptional({
    type: 'integer',
    nullable: true,
    minimum: 0,
    maximum: TEN_YEARS,
    description:
      'The older form of `retireOthers: { after: "now" }`: seconds until the other live credentials expire. 0: at ' +
      'once; `null`: they keep their expiry. Never extends an expiry.',
  })
  @MayBeNull()
  @IsInt({ message: 'must be a whole number or null' })
  @Min(0, { message: 'must be at least 0' })
  @Max(TEN_YEARS, { message: `must be at most ${String(TEN_YEARS)}` })
  retireOthersInSeconds?: number | null;

  @ApiPropertyOptional({
    format: 'uuid',
    description: 'The pending credential that the new one replaces. It is withdrawn, with its link.',
  })
  @MayBeAbsent()
  @IsUUID('all', { message: 'must be a UUID' })
  replaces?: string;

  @Deliver()
  deliver?: Delivery['deliver'];

  @LinkTtlSeconds()
  linkTtlSeconds?: number;
}

/** When the others end after the first token of a pending credential. */
export class RetireOthersDto {
  @ApiProperty({ enum: ['first-use'] })
  after!: 'first-use';

  @ApiProperty({ type: 'integer' })
  seconds!: number;
}

export class StartedByDto {
  @ApiProperty({ enum: BEGINNERS, description: '`account`: the channel user itself.' })
  type!: Beginner;

  @ApiProperty({ type: String, format: 'uuid', nullable: true, description: 'Of the staff member or service account.' })
  id!: string | null;

  @ApiProperty({ type: String, nullable: true, description: 'Of the same; `null` if it is gone.' })
  name!: string | null;
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
    description:
      "The first 8 hexadecimal digits of the password's SHA-256; `null` unless Latchkey generated the password.",
  })
  fingerprint!: string | null;

  @ApiProperty({
    enum: CREDENTIAL_STATUSES,
    description:
      '`pending`: works, and its first token makes it active. `withdrawn`: its rotation ended before it was used; it ' +
      'is refused like a revoked one.',
  })
  status!: CredentialStatus;

  @ApiProperty({ type: String, format: 'date-time' })
  createdAt!: Date;

  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  expiresAt!: Date | null;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    description: 'When it was revoked or withdrawn.',
  })
  revokedAt!: Date | null;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    description: 'When somebody who had its password reported it as leaked.',
  })
  reportedLeakedAt!: Date | null;

  @ApiProperty({ type: String, format: 'date-time', nullable: true, description: 'While it is pending: since when.' })
  pendingSince!: Date | null;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    description:
      `While it is pending: when it is withdrawn if nobody uses it, at most ${String(PENDING_DAYS)} days after its ` +
      'creation. A link that expires unopened ends it earlier. It stays if it is the only live credential.',
  })
  pendingUntil!: Date | null;

  @ApiProperty({
    type: RetireOthersDto,
    nullable: true,
    description: 'While it is pending: when the others expire after its first token.',
  })
  retireOthers!: RetireOthersDto | null;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    description: 'When its first token made it active; `null` if it was never pending.',
  })
  activatedAt!: Date | null;

  @ApiProperty({
    type: StartedByDto,
    nullable: true,
    description: 'Who created it; `null` for imported credentials and those of older versions.',
  })
  startedBy!: StartedByDto | null;

  @ApiProperty({ type: String, format: 'date-time', nullable: true, description: 'Accurate to about a minute.' })
  lastUsedAt!: Date | null;

  @ApiProperty({ type: String, nullable: true, description: 'The address of the last use.' })
  lastUsedAddress!: string | null;

  @ApiProperty({ type: String, nullable: true, description: 'The user agent of the last use.' })
  lastUsedUserAgent!: string | null;
}

export class CredentialListDto {
  @ApiProperty({ type: [CredentialDto] })
  items!: CredentialDto[];
}

/** A credential as its creation answers it: the only answer with the password, unless a link shows it. */
export class NewCredentialDto extends CredentialDto {
  @ApiPropertyOptional({ format: 'uuid', description: 'Shown only in this response. Absent with `deliver: "link"`.' })
  password?: string;
}

export class IssuedCredentialDto {
  @ApiProperty()
  credential!: NewCredentialDto;

  @ApiPropertyOptional({
    format: 'uri',
    example: 'https://partners.example/handover#wUmYgRcXHBhD9cPCrlrYDLP1UnTZCwkqNR8vJLxRI5o',
    description: 'Present with `deliver: "link"`: the link that shows the partner the password once.',
  })
  handoverUrl?: string;

  @ApiPropertyOptional({ type: NewHandoverDto, description: 'Present with `deliver: "link"`.' })
  handover?: NewHandoverDto;
}
