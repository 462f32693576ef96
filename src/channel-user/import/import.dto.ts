import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn, IsUUID, ValidateBy, type ValidationArguments } from 'class-validator';
import { ChannelUserDescription } from '../channel-user.dto.ts';
import { CHANNEL_USER_STATUSES, type ChannelUserStatus } from '../model/channel-user.entity.ts';
import { ACTOR_TYPES } from '../../platform/common/principal.ts';
import { isBearableHash } from '../../password/secret-hash.ts';
import { isCredentialText } from '../../platform/http/form-body.ts';
import { IsDateTime, IsQueryInteger, MayBeAbsent, MayBeNull } from '../../platform/api/validation.ts';
import { FORMATS } from './import-file.ts';
import { IMPORT_STATES, type ImportState } from './import.entity.ts';

const IsPassword = (): PropertyDecorator =>
  ValidateBy({
    name: 'isPassword',
    validator: {
      // A sign-in could not send any other password.
      validate: (value: unknown) => typeof value === 'string' && value.isWellFormed() && isCredentialText(value),
      defaultMessage: () => 'must be text of 1 to 256 characters without control characters',
    },
  });

const IsPasswordHash = (): PropertyDecorator =>
  ValidateBy({
    name: 'isPasswordHash',
    validator: {
      validate: (value: unknown) => typeof value === 'string' && isBearableHash(value),
      defaultMessage: () =>
        'must be an argon2id hash (v=19, m at most 196608 (192 MiB), t at most 10, p at most 4, m × t at most ' +
        '1048576) or a bcrypt hash ($2a$, $2b$ or $2y$, cost 4 to 14)',
    },
  });

const GoesWithoutPassword = (): PropertyDecorator =>
  ValidateBy({
    name: 'goesWithoutPassword',
    validator: {
      validate: (_, args?: ValidationArguments) => (args?.object as ImportRow | undefined)?.password === undefined,
      defaultMessage: () => 'is not allowed beside password',
    },
  });

const IsPast = (): PropertyDecorator =>
  ValidateBy({
    name: 'isPast',
    validator: {
      validate: (value: unknown) => typeof value === 'string' && !(Date.parse(value) > Date.now()),
      defaultMessage: () => 'must not be in the future',
    },
  });

const HasExpiryIfExpired = (): PropertyDecorator =>
  ValidateBy({
    name: 'hasExpiryIfExpired',
    validator: {
      validate: (value: unknown, args?: ValidationArguments) =>
        value !== 'expired' || (args?.object as ImportRow | undefined)?.expiresAt != null,
      defaultMessage: () =>
        'must be active or suspended if expiresAt is missing, because only a past expiresAt makes a channel user ' +
        'expired',
    },
  });

/** A row: the fields of `POST /admin/channel-users`, at most one form of a password, and fields of an export. */
export class ImportRow extends ChannelUserDescription {
  @MayBeAbsent()
  @IsPassword()
  password?: string;

  @MayBeAbsent()
  @IsPasswordHash()
  @GoesWithoutPassword()
  passwordHash?: string;

  /** The status from an export. `expired` needs an `expiresAt`, from which it follows. */
  @MayBeAbsent()
  @IsIn(CHANNEL_USER_STATUSES, { message: `must be one of ${CHANNEL_USER_STATUSES.join(', ')}` })
  @HasExpiryIfExpired()
  status?: ChannelUserStatus;

  @MayBeAbsent()
  @IsDateTime()
  @IsPast()
  createdAt?: string;

  @MayBeNull()
  @IsDateTime()
  @IsPast()
  lastTokenAt?: string | null;
}

const DELIVERIES = ['password', 'link'] as const;
const MAX_LINK_SECONDS = 30 * 86_400;

const GoesWithLink = (): PropertyDecorator =>
  ValidateBy({
    name: 'goesWithLink',
    validator: {
      validate: (_, args?: ValidationArguments) => (args?.object as ImportQuery | undefined)?.deliver === 'link',
      defaultMessage: () => 'is allowed only with deliver=link',
    },
  });

const BOOLEANS = ['true', 'false'] as const;
const BOOLEAN = { message: 'must be true or false' };

export class ImportQuery {
  @ApiPropertyOptional({ enum: BOOLEANS, default: 'false', description: 'Check the whole file and store nothing.' })
  @MayBeAbsent()
  @IsIn(BOOLEANS, BOOLEAN)
  dryRun?: (typeof BOOLEANS)[number];

  @ApiPropertyOptional({
    enum: BOOLEANS,
    default: 'false',
    description: 'Import the valid rows even if others have errors. By default, one error stops the whole import.',
  })
  @MayBeAbsent()
  @IsIn(BOOLEANS, BOOLEAN)
  partial?: (typeof BOOLEANS)[number];

  @ApiPropertyOptional({
    enum: DELIVERIES,
    default: 'password',
    description: '`link`: the response contains a one-time link for each partner instead of its generated password.',
  })
  @MayBeAbsent()
  @IsIn(DELIVERIES, { message: `must be one of ${DELIVERIES.join(', ')}` })
  deliver?: (typeof DELIVERIES)[number];

  @ApiPropertyOptional({
    minimum: 300,
    maximum: MAX_LINK_SECONDS,
    default: 259_200,
    description: 'How long the links work. Allowed only with `deliver=link`.',
  })
  @MayBeAbsent()
  @IsQueryInteger(300, MAX_LINK_SECONDS)
  @GoesWithLink()
  linkTtlSeconds?: number;

  @ApiPropertyOptional({
    format: 'uuid',
    description: 'An id for the import, chosen by the client, to follow its progress while the file is sent.',
  })
  @MayBeAbsent()
  @IsUUID('all', { message: 'must be a UUID' })
  id?: string;
}

export class RowErrorDto {
  @ApiProperty({ example: 'rows.17.username', description: 'Row numbers match those of a spreadsheet or an editor.' })
  field!: string;

  @ApiProperty({ type: [String], example: ['is taken'] })
  messages!: string[];
}

class ImportedCredentialDto {
  @ApiProperty({ example: 17 })
  row!: number;

  @ApiProperty({ example: 'blue-channel' })
  username!: string;

  @ApiProperty({ format: 'uuid', description: 'Id of the channel user.' })
  id!: string;

  @ApiProperty({ example: '3f2a90bc' })
  fingerprint!: string;

  @ApiPropertyOptional({
    format: 'uuid',
    description: 'Shown only in this response; nobody can read it again. Absent with `deliver=link`.',
  })
  password?: string;

  @ApiPropertyOptional({
    format: 'uri',
    description: 'Present with `deliver=link`. The link for the partner, which shows the password once.',
  })
  handoverUrl?: string;

  @ApiPropertyOptional({
    type: String,
    format: 'date-time',
    description: 'Present with `deliver=link`. When the link expires.',
  })
  expiresAt?: Date;
}

export class ImportSummaryDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty({ enum: ['imported', 'checked'] })
  outcome!: 'imported' | 'checked';

  @ApiProperty({ description: 'Rows in the file.' })
  rows!: number;

  @ApiProperty({ description: 'Channel users created, or that would be created in a dry run.' })
  created!: number;

  @ApiProperty({ description: 'Rows with errors.' })
  failed!: number;

  @ApiProperty({ description: 'Total number of errors. `errors` lists the first 1000.' })
  errorCount!: number;

  @ApiProperty({ type: [RowErrorDto] })
  errors!: RowErrorDto[];

  @ApiProperty({ type: [String], description: 'Notes on rows that were accepted but need attention.' })
  warnings!: string[];
}

export class ImportResultDto extends ImportSummaryDto {
  @ApiProperty({
    type: [ImportedCredentialDto],
    description: 'Generated passwords, or links to them, sorted by row.',
  })
  credentials!: ImportedCredentialDto[];
}

class ImportActorDto {
  @ApiProperty({ enum: ACTOR_TYPES })
  type!: string;

  @ApiProperty({ type: String, format: 'uuid', nullable: true })
  id!: string | null;

  @ApiProperty({ type: String, nullable: true, description: '`null` if the person or service account is gone.' })
  name!: string | null;
}

export class ImportDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty({
    enum: IMPORT_STATES,
    description:
      '`interrupted`: the import failed before its end. `ended`: an admin ended it. In both cases nothing was ' +
      'imported.',
  })
  state!: ImportState;

  @ApiProperty({ enum: FORMATS })
  format!: string;

  @ApiProperty()
  dryRun!: boolean;

  @ApiProperty()
  partial!: boolean;

  @ApiProperty({ description: 'Rows read so far.' })
  rows!: number;

  @ApiProperty({ description: 'Channel users created, or that would have been created.' })
  created!: number;

  @ApiProperty({ description: 'Rows with errors so far.' })
  failed!: number;

  @ApiProperty({ type: String, nullable: true, description: 'SHA-256 of the file, in hexadecimal digits.' })
  fileSha256!: string | null;

  @ApiProperty()
  by!: ImportActorDto;

  @ApiProperty({ type: String, format: 'date-time' })
  startedAt!: Date;

  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  finishedAt!: Date | null;
}

export class ImportListDto {
  @ApiProperty({ type: [ImportDto] })
  items!: ImportDto[];
}
