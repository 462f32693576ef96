import { ApiProperty } from '@nestjs/swagger';
import { PageCursor, PageLimit } from '../common/api.ts';
import { type Outcome, OUTCOMES } from './activity.entity.ts';

export class ListActivityQuery {
  @PageLimit()
  limit?: number;

  @PageCursor()
  cursor?: string;
}

class ActivityDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty({ type: String, format: 'date-time' })
  at!: Date;

  @ApiProperty({ type: String, nullable: true, description: 'The address the request came from.' })
  address!: string | null;

  @ApiProperty({ enum: OUTCOMES })
  outcome!: Outcome;

  @ApiProperty({ type: String, nullable: true, description: 'What the partner was told.' })
  errorCode!: string | null;

  @ApiProperty({
    type: String,
    nullable: true,
    example: 'wrong_password',
    description:
      'The true reason of a refusal: `wrong_password`, `revoked_credential`, `address_not_allowed`, ' +
      '`account_suspended`, `account_expired`, `credential_expired` or `issuance_limit`; `legacy_query` for a token ' +
      'that was asked for with credentials in the URL.',
  })
  reason!: string | null;

  @ApiProperty({ type: String, format: 'uuid', nullable: true })
  credentialId!: string | null;

  @ApiProperty({ format: 'uuid', description: 'As in the X-Request-Id header.' })
  requestId!: string;

  @ApiProperty({ type: String, nullable: true })
  userAgent!: string | null;

  @ApiProperty({
    description:
      'How many attempts: 429s of one minute are one item, and so are further refusals after thirty for one reason.',
  })
  count!: number;
}

export class ActivityPageDto {
  @ApiProperty({ type: [ActivityDto] })
  items!: ActivityDto[];

  @ApiProperty({ type: String, nullable: true })
  nextCursor!: string | null;
}
