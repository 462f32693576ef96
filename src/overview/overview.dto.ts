import { ApiProperty } from '@nestjs/swagger';

class ChannelUserCountsDto {
  @ApiProperty()
  total!: number;

  @ApiProperty()
  active!: number;

  @ApiProperty()
  suspended!: number;

  @ApiProperty()
  expired!: number;
}

class HourDto {
  @ApiProperty({ type: String, format: 'date-time', description: 'Its start.' })
  at!: Date;

  @ApiProperty({ description: 'Sign-ins that obtained a token.' })
  tokens!: number;

  @ApiProperty({ description: 'Sign-ins of existing channel users that were refused.' })
  refused!: number;
}

class TokenNumbersDto {
  @ApiProperty({ description: 'The sum of `hours`.' })
  last24h!: number;

  @ApiProperty({ type: [HourDto], description: 'The present hour (UTC) and the 23 before it, oldest first.' })
  hours!: HourDto[];
}

class FailingChannelUserDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty()
  username!: string;

  @ApiProperty()
  displayName!: string;

  @ApiProperty({ type: String, format: 'date-time', description: 'The first refusal after the last token.' })
  since!: Date;

  @ApiProperty({ type: String, format: 'date-time', description: 'The last refusal.' })
  lastAt!: Date;

  @ApiProperty({ example: 'wrong_password', description: 'The true reason of the last refusal, as in the activity.' })
  reason!: string;

  @ApiProperty({ description: 'Refusals since then.' })
  count!: number;
}

class FailingDto {
  @ApiProperty({ description: 'As the list with `failing=true`.' })
  total!: number;

  @ApiProperty({ type: [FailingChannelUserDto], description: 'At most 10, the most recent first.' })
  items!: FailingChannelUserDto[];
}

class ExpiryDto {
  @ApiProperty({ format: 'uuid', description: 'Of the channel user.' })
  id!: string;

  @ApiProperty()
  username!: string;

  @ApiProperty()
  displayName!: string;

  @ApiProperty({ type: String, format: 'uuid', nullable: true, description: '`null`: the account itself expires.' })
  credentialId!: string | null;

  @ApiProperty({ type: String, nullable: true, description: "The credential's." })
  label!: string | null;

  @ApiProperty({ type: String, format: 'date-time' })
  expiresAt!: Date;
}

class ExpiringDto {
  @ApiProperty({ description: 'Channel users, as the list with `expiringWithinDays=30`.' })
  total!: number;

  @ApiProperty({ type: [ExpiryDto], description: 'At most 10 credentials and accounts, the soonest first.' })
  items!: ExpiryDto[];
}

class SilentDto {
  @ApiProperty({ description: 'As the list with `silentForDays=30`.' })
  total!: number;
}

export class OverviewDto {
  @ApiProperty({ type: String, format: 'date-time', description: 'When this was read; it is kept for some seconds.' })
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
