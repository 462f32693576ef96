import { applyDecorators } from '@nestjs/common';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn, IsInt, Max, Min, ValidateBy, type ValidationArguments } from 'class-validator';
import { IsDateTime, IsName, MayBeAbsent, MayBeNull } from '../../platform/api/validation.ts';
import { ONE_DAY, TEN_YEARS } from '../model/channel-user.rules.ts';
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
    type: 'integer',
    nullable: true,
    minimum: 0,
    maximum: TEN_YEARS,
    default: ONE_DAY,
    description:
      'Seconds until the other live credentials expire. 0: at once; `null`: they keep their expiry. Never extends ' +
      'an expiry.',
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
    description:
      "The first 8 hexadecimal digits of the password's SHA-256; `null` unless Latchkey generated the password.",
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
  @ApiPropertyOptional({
    format: 'uuid',
    description: 'Shown only in this response; nobody can read it again. Absent with `deliver: "link"`.',
  })
  password?: string;
}

export class IssuedCredentialDto {
  @ApiProperty()
  credential!: NewCredentialDto;

  @ApiPropertyOptional({
    format: 'uri',
    example: 'https://partners.example/handover#wUmYgRcXHBhD9cPCrlrYDLP1UnTZCwkqNR8vJLxRI5o',
    description:
      'Present with `deliver: "link"`. The link for the partner, which shows the password once; nobody can read ' +
      'it again.',
  })
  handoverUrl?: string;

  @ApiPropertyOptional({ type: NewHandoverDto, description: 'Present with `deliver: "link"`.' })
  handover?: NewHandoverDto;
}
