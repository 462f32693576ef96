import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn, IsUUID, ValidateBy, type ValidationArguments } from 'class-validator';
import { ChannelUserDescription } from '../channel-user/channel-user.service.ts';
import { isBearableHash } from '../channel-user/password.service.ts';
import { isCredentialText } from '../common/form.ts';
import { MayBeAbsent } from '../common/validation.ts';
import { FORMATS } from './import-file.ts';
import { IMPORT_STATES, type ImportState } from './import.entity.ts';

const IsPassword = (): PropertyDecorator =>
  ValidateBy({
    name: 'isPassword',
    validator: {
      // Any other could not be presented.
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
        'must be an argon2id hash (v=19, m of at most 262144, t of at most 10, p of at most 4, m × t of at most ' +
        '1048576) or a bcrypt hash ($2a$, $2b$ or $2y$, of cost 4 to 14)',
    },
  });

const GoesWithoutPassword = (): PropertyDecorator =>
  ValidateBy({
    name: 'goesWithoutPassword',
    validator: {
      validate: (_, args?: ValidationArguments) => (args?.object as ImportRow | undefined)?.password === undefined,
      defaultMessage: () => 'goes only without password',
    },
  });

/** A row: what `POST /admin/channel-users` takes, and at most one form of a password. */
export class ImportRow extends ChannelUserDescription {
  @MayBeAbsent()
  @IsPassword()
  password?: string;

  @MayBeAbsent()
  @IsPasswordHash()
  @GoesWithoutPassword()
  passwordHash?: string;
}

const BOOLEANS = ['true', 'false'] as const;
const BOOLEAN = { message: 'must be true or false' };

export class ImportQuery {
  @ApiPropertyOptional({ enum: BOOLEANS, default: 'false', description: 'Check everything, keep nothing.' })
  @MayBeAbsent()
  @IsIn(BOOLEANS, BOOLEAN)
  dryRun?: (typeof BOOLEANS)[number];

  @ApiPropertyOptional({
    enum: BOOLEANS,
    default: 'false',
    description: 'Import the rows that are valid, though others are not. Otherwise it is all or nothing.',
  })
  @MayBeAbsent()
  @IsIn(BOOLEANS, BOOLEAN)
  partial?: (typeof BOOLEANS)[number];

  @ApiPropertyOptional({
    format: 'uuid',
    description: 'The id that the import will have, for whoever wants to watch it while the file is sent.',
  })
  @MayBeAbsent()
  @IsUUID('all', { message: 'must be a UUID' })
  id?: string;
}

export class RowErrorDto {
  @ApiProperty({ example: 'rows.17.username', description: 'Rows are counted as a spreadsheet or an editor does.' })
  field!: string;

  @ApiProperty({ type: [String], example: ['is taken'] })
  messages!: string[];
}

class ImportedCredentialDto {
  @ApiProperty({ example: 17 })
  row!: number;

  @ApiProperty({ example: 'blue-channel' })
  username!: string;

  @ApiProperty({ format: 'uuid', description: 'Of the channel user.' })
  id!: string;

  @ApiProperty({ example: '3f2a90bc' })
  fingerprint!: string;

  @ApiProperty({ format: 'uuid', description: 'Shown this once; nobody can read it again.' })
  password!: string;
}

export class ImportSummaryDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty({ enum: ['imported', 'checked'] })
  outcome!: 'imported' | 'checked';

  @ApiProperty({ description: 'Rows of the file.' })
  rows!: number;

  @ApiProperty({ description: 'Channel users that there are now, or would be.' })
  created!: number;

  @ApiProperty({ description: 'Rows with errors.' })
  failed!: number;

  @ApiProperty({ description: 'All errors, though only the first 1000 are listed.' })
  errorCount!: number;

  @ApiProperty({ type: [RowErrorDto] })
  errors!: RowErrorDto[];
}

export class ImportAnswer extends ImportSummaryDto {
  @ApiProperty({ type: [ImportedCredentialDto], description: 'Passwords that Latchkey generated, by row.' })
  credentials!: ImportedCredentialDto[];
}

class ImportActorDto {
  @ApiProperty({ enum: ['staff', 'cli', 'system'] })
  type!: string;

  @ApiProperty({ type: String, format: 'uuid', nullable: true })
  id!: string | null;

  @ApiProperty({ type: String, nullable: true, description: '`null` when that person is no longer among the staff.' })
  name!: string | null;
}

export class ImportDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty({
    enum: IMPORT_STATES,
    description: '`interrupted`: it did not come to its end, and nothing was imported.',
  })
  state!: ImportState;

  @ApiProperty({ enum: FORMATS })
  format!: string;

  @ApiProperty()
  dryRun!: boolean;

  @ApiProperty()
  partial!: boolean;

  @ApiProperty({ description: 'Rows that were read so far.' })
  rows!: number;

  @ApiProperty({ description: 'Channel users that were created, or would have been.' })
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
