import { ApiProperty } from '@nestjs/swagger';
import { DescendantDto } from '../../channel-user/credential/credential-end.dto.ts';

export class CredentialImpactDto {
  @ApiProperty({
    description:
      'Live tokens obtained with this credential, counted up to 100000. Computed with the current ' +
      '`tokenTtlSeconds`. Tokens ended with revoke-tokens do not count; tokens revoked one by one do.',
  })
  liveTokens!: number;

  @ApiProperty({ type: String, format: 'date-time', nullable: true, description: 'Accurate to about a minute.' })
  lastTokenAt!: Date | null;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    description:
      'Time of the last call with a token of this credential, within the last 8 days. Calls to other instances ' +
      'show after 10 s.',
  })
  lastCallAt!: Date | null;

  @ApiProperty({ description: 'Calls with tokens of this credential, in the current hour and the 23 before it.' })
  callsLast24h!: number;

  @ApiProperty({
    type: [DescendantDto],
    description:
      'What the channel user created with this credential, directly or indirectly, and what is neither revoked nor ' +
      'withdrawn, oldest first. Revoking ends them too, unless `includeDescendants` is `false`.',
  })
  descendants!: DescendantDto[];
}
