import { applyDecorators } from '@nestjs/common';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsInt, Max, Min, ValidateBy } from 'class-validator';
import { RetireOthersDto } from '../../channel-user/credential/credential.dto.ts';
import { HANDOVER_STATUSES, type HandoverStatus } from '../../channel-user/handover/handover.entity.ts';
import { ONE_DAY } from '../../channel-user/model/channel-user.rules.ts';
import {
  CREDENTIAL_STATUSES,
  type CredentialStatus,
  PENDING_DAYS,
} from '../../channel-user/model/credential.entity.ts';
import { IsName, MayBeAbsent } from '../../platform/api/validation.ts';
import { faultOfCredentialText } from '../../platform/http/form-body.ts';

export const DEFAULT_OVERLAP_SECONDS = 7 * ONE_DAY;

const faultOf = (value: unknown): string | undefined =>
  typeof value === 'string' && value.isWellFormed() ? faultOfCredentialText(value) : 'is not text';

/** One of the caller's passwords, which must be as a sign-in takes it. */
const Password = (description: string): PropertyDecorator =>
  applyDecorators(
    ApiProperty({ minLength: 1, maxLength: 256, description }),
    ValidateBy(
      { name: 'isPassword', validator: { validate: (value) => faultOf(value) === undefined } },
      { message: ({ value }) => faultOf(value) ?? '' },
    ),
  );

const OWN_BEGINNERS = ['staff', 'account', 'system'] as const;
/** Who created a credential, as far as its owner needs to know. */
export type OwnBeginner = (typeof OWN_BEGINNERS)[number];

export class CreateOwnCredentialRequest {
  @Password('An active password of this account. One that waits for its first use proves nothing.')
  password!: string;

  @ApiPropertyOptional({ minLength: 1, maxLength: 100, example: 'production' })
  @MayBeAbsent()
  @IsName(1, 100)
  label?: string;

  @ApiPropertyOptional({
    type: 'integer',
    minimum: ONE_DAY,
    maximum: DEFAULT_OVERLAP_SECONDS,
    default: DEFAULT_OVERLAP_SECONDS,
    description: 'Seconds from the first use of the new password until the others expire. Never extends an expiry.',
  })
  @MayBeAbsent()
  @IsInt({ message: 'must be a whole number' })
  @Min(ONE_DAY, { message: `must be at least ${String(ONE_DAY)}` })
  @Max(DEFAULT_OVERLAP_SECONDS, { message: `must be at most ${String(DEFAULT_OVERLAP_SECONDS)}` })
  overlapSeconds?: number;
}

export class WithdrawOwnCredentialRequest {
  @Password('A password of this account that works, the pending one included.')
  password!: string;
}

export class EndOwnCredentialRequest {
  @Password('The password that is ended.')
  password!: string;
}

/** The one-time link that shows a pending password. */
export class OwnLinkDto {
  @ApiProperty({ enum: HANDOVER_STATUSES, description: '`waiting`: nobody has opened it yet. `revealed`: opened.' })
  status!: HandoverStatus;

  @ApiProperty({ type: String, format: 'date-time', description: 'When the link ends, unless it is opened before.' })
  expiresAt!: Date;

  @ApiProperty({ type: String, format: 'date-time', nullable: true, description: 'When it showed the password.' })
  revealedAt!: Date | null;
}

/** A credential as its owner sees it: like the staff's, without names of staff. */
export class OwnCredentialDto {
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

  @ApiProperty({ description: 'Whether it obtained the token of this request.' })
  current!: boolean;

  @ApiProperty({ type: String, format: 'date-time' })
  createdAt!: Date;

  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  expiresAt!: Date | null;

  @ApiProperty({ type: String, format: 'date-time', nullable: true, description: 'When it was revoked or withdrawn.' })
  revokedAt!: Date | null;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    description: 'When somebody who had its password reported it as leaked.',
  })
  reportedLeakedAt!: Date | null;

  @ApiProperty({
    type: String,
    enum: OWN_BEGINNERS,
    nullable: true,
    description:
      'Who created it. `account`: you; `staff`: your contact or a script of its; `null` for imported credentials and ' +
      'those of older versions.',
  })
  startedBy!: OwnBeginner | null;

  @ApiProperty({ type: String, format: 'date-time', nullable: true, description: 'While it is pending: since when.' })
  pendingSince!: Date | null;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    description:
      `While it is pending: when it is withdrawn if nobody uses it, at most ${String(PENDING_DAYS)} days after its ` +
      'creation. A link that expires unopened ends it earlier.',
  })
  pendingUntil!: Date | null;

  @ApiProperty({
    type: OwnLinkDto,
    nullable: true,
    description: 'While it is pending: its one-time link; `null` if the password was shown without one.',
  })
  link!: OwnLinkDto | null;

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

  @ApiProperty({ type: String, format: 'date-time', nullable: true, description: 'Accurate to about a minute.' })
  lastUsedAt!: Date | null;

  @ApiProperty({ type: String, nullable: true, description: 'The address of the last use.' })
  lastUsedAddress!: string | null;
}

export class OwnCredentialListDto {
  @ApiProperty({ type: [OwnCredentialDto] })
  items!: OwnCredentialDto[];
}

/** A credential as its creation answers it: the only answer with the password. */
export class NewOwnCredentialDto extends OwnCredentialDto {
  @ApiProperty({ format: 'uuid', description: 'Shown only in this response; nobody can read it again.' })
  password!: string;
}

export class IssuedOwnCredentialDto {
  @ApiProperty()
  credential!: NewOwnCredentialDto;
}
