import { ApiProperty } from '@nestjs/swagger';

export class CredentialImpactDto {
  @ApiProperty({
    description:
      'Tokens it obtained that have not expired and were not ended with revoke-tokens. Reckoned with the present ' +
      '`tokenTtlSeconds`; tokens that were ended one by one still count; counted no further than 100000.',
  })
  liveTokens!: number;

  @ApiProperty({ type: String, format: 'date-time', nullable: true, description: 'Exact to about a minute.' })
  lastTokenAt!: Date | null;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    description: 'The last call with a token of it, of the last 8 days; calls on other instances are known after 10 s.',
  })
  lastCallAt!: Date | null;

  @ApiProperty({ description: 'Calls with tokens of it, in the present hour and the 23 before it.' })
  callsLast24h!: number;
}
