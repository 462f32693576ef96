import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn } from 'class-validator';
import { PageCursor, PageLimit } from '../../platform/api/openapi.decorators.ts';
import { MayBeAbsent } from '../../platform/api/validation.ts';
import { type Outcome, OUTCOMES } from './sign-in-attempt.entity.ts';

export class ListActivityQuery {
  @PageLimit()
  limit?: number;

  @PageCursor()
  cursor?: string;

  @ApiPropertyOptional({ enum: OUTCOMES, description: 'Only attempts with this outcome.' })
  @MayBeAbsent()
  @IsIn(OUTCOMES, { message: `must be one of ${OUTCOMES.join(', ')}` })
  outcome?: Outcome;
}

/** What both staff and the channel user itself see of an attempt. */
class AttemptDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty({ type: String, format: 'date-time' })
  at!: Date;

  @ApiProperty({ type: String, nullable: true, description: 'The address the request came from.' })
  address!: string | null;

  @ApiProperty({ enum: OUTCOMES })
  outcome!: Outcome;

  @ApiProperty({
    type: String,
    nullable: true,
    description:
      'The error code that the partner received. `credential.…`: a password that had to prove a change of passwords.',
  })
  errorCode!: string | null;

  @ApiProperty({ format: 'uuid', description: 'The X-Request-Id of the response.' })
  requestId!: string;

  @ApiProperty({
    description:
      'Number of attempts in this item. All 429s of a minute share one item; so do refusals for one reason ' +
      'beyond 30 a minute.',
  })
  count!: number;
}

export class ActivityDto extends AttemptDto {
  @ApiProperty({
    type: String,
    nullable: true,
    example: 'wrong_password',
    description:
      'The true reason for a refusal: `wrong_password`, `not_checked` (the password was not verified), ' +
      '`password_too_long` (over 72 bytes, the limit of bcrypt), `revoked_credential`, `address_not_allowed`, ' +
      '`account_suspended`, `account_expired`, `credential_expired`, `issuance_limit`, `invalid_scope`, or `no_proof` ' +
      '(the channel user tried to change its passwords with one that does not prove the right to do so). ' +
      '`legacy_query` marks a token requested with credentials in the URL, `partner_page` one that a person obtained ' +
      'on the partner’s page.',
  })
  reason!: string | null;

  @ApiProperty({ type: String, format: 'uuid', nullable: true })
  credentialId!: string | null;

  @ApiProperty({ type: String, nullable: true })
  userAgent!: string | null;
}

export class OwnActivityDto extends AttemptDto {
  @ApiProperty({
    type: String,
    nullable: true,
    example: 'wrong_password',
    description:
      'The code of the reason, as your contact sees it. `partner_page` marks a sign-in on the partner’s page.',
  })
  reasonCode!: string | null;

  @ApiProperty({
    type: String,
    nullable: true,
    description: 'Why the sign-in was refused, or what was wrong with it, in a sentence.',
    example: 'The password was wrong.',
  })
  reason!: string | null;

  @ApiProperty({ type: String, nullable: true, description: 'What to do about it.' })
  hint!: string | null;
}

export class ActivityPageDto {
  @ApiProperty({ type: [ActivityDto] })
  items!: ActivityDto[];

  @ApiProperty({ type: String, nullable: true })
  nextCursor!: string | null;
}

export class OwnActivityPageDto {
  @ApiProperty({ type: [OwnActivityDto] })
  items!: OwnActivityDto[];

  @ApiProperty({ type: String, nullable: true })
  nextCursor!: string | null;
}
