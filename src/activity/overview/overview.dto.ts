import { ApiProperty } from '@nestjs/swagger';

const STATUSES = ['active', 'suspended', 'expired'] as const;

class ChannelUserCountsDto {
  @ApiProperty()
  total!: number;

  @ApiProperty({ description: 'Computed as `total` minus `suspended` and `expired`.' })
  active!: number;

  @ApiProperty({ description: 'Exact up to 10,000, an estimate above.' })
  suspended!: number;

  @ApiProperty({ description: 'Exact up to 10,000, an estimate above.' })
  expired!: number;
}

class HourDto {
  @ApiProperty({ type: String, format: 'date-time', description: 'The start of the hour.' })
  at!: Date;

  @ApiProperty({ description: 'Sign-ins that obtained a token.' })
  tokens!: number;

  @ApiProperty({ description: 'Sign-ins of existing channel users that were refused.' })
  refused!: number;
}

class TokenNumbersDto {
  @ApiProperty({ description: 'Tokens obtained in all of `hours`.' })
  last24h!: number;

  @ApiProperty({ type: [HourDto], description: 'The current hour (UTC) and the 23 before it, oldest first.' })
  hours!: HourDto[];
}

class RefusalReasonDto {
  @ApiProperty({ example: 'wrong_password' })
  reason!: string;

  @ApiProperty({ description: 'Refusals for this reason among the newest 1000 records.' })
  count!: number;

  @ApiProperty({ type: String, format: 'date-time' })
  lastAt!: Date;
}

class FailingChannelUserDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty()
  username!: string;

  @ApiProperty()
  displayName!: string;

  @ApiProperty({ type: String, format: 'date-time', description: 'Time of the first refusal after the last token.' })
  since!: Date;

  @ApiProperty({ type: String, format: 'date-time', description: 'Time of the last refusal.' })
  lastAt!: Date;

  @ApiProperty({
    example: 'wrong_password',
    description: 'The true reason for the last refusal, as in the sign-in log.',
  })
  reason!: string;

  @ApiProperty({ description: 'Refusals since `since`.' })
  count!: number;

  @ApiProperty({ type: [RefusalReasonDto], description: 'Reasons for the refusals, most frequent first.' })
  reasons!: RefusalReasonDto[];

  @ApiProperty({ enum: STATUSES, description: 'The current status. It may have changed since the last refusal.' })
  status!: (typeof STATUSES)[number];

  @ApiProperty({
    description:
      'Whether the suspension or expiry that caused the last refusal has ended. The channel user has not tried ' +
      'again since.',
  })
  isOver!: boolean;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    description:
      'When staff last changed the channel user or gave it a password; `null` if not since the last refusal.',
  })
  changedAt!: Date | null;
}

export type FailingItem = FailingChannelUserDto;

class FailingDto {
  @ApiProperty({
    description: 'Number of channel users that the list returns with `failing=true`. An estimate above 10,000.',
  })
  total!: number;

  @ApiProperty({ type: [FailingChannelUserDto], description: 'The 10 most recent at most, newest first.' })
  items!: FailingChannelUserDto[];
}

class ExpiryDto {
  @ApiProperty({ format: 'uuid', description: 'Id of the channel user.' })
  id!: string;

  @ApiProperty()
  username!: string;

  @ApiProperty()
  displayName!: string;

  @ApiProperty({
    type: String,
    format: 'uuid',
    nullable: true,
    description: '`null` if the channel user itself expires.',
  })
  credentialId!: string | null;

  @ApiProperty({ type: String, nullable: true, description: 'Label of the credential.' })
  label!: string | null;

  @ApiProperty({ type: String, format: 'date-time' })
  expiresAt!: Date;
}

class ExpiringDto {
  @ApiProperty({
    description:
      'Number of channel users that the list returns with `expiringWithinDays=30`. An estimate above 10,000.',
  })
  total!: number;

  @ApiProperty({
    type: [ExpiryDto],
    description: 'The next 10 credentials and channel users to expire, soonest first.',
  })
  items!: ExpiryDto[];
}

class SilentDto {
  @ApiProperty({
    description: 'Number of channel users that the list returns with `silentForDays=30`. An estimate above 10,000.',
  })
  total!: number;
}

export class OverviewDto {
  @ApiProperty({
    type: String,
    format: 'date-time',
    description: 'When the numbers were read. They are cached for a few seconds.',
  })
  at!: Date;

  @ApiProperty()
  channelUsers!: ChannelUserCountsDto;

  @ApiProperty()
  tokens!: TokenNumbersDto;

  @ApiProperty()
  failing!: FailingDto;

  @ApiProperty()
  expiring!: ExpiringDto;

  @ApiProperty()
  silent!: SilentDto;
}
