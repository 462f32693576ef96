import { ApiProperty } from '@nestjs/swagger';

class MeTokenDto {
  @ApiProperty({ format: 'uuid', description: "The token's `jti`." })
  id!: string;

  @ApiProperty({ type: String, format: 'date-time' })
  issuedAt!: Date;

  @ApiProperty({ type: String, format: 'date-time' })
  expiresAt!: Date;
}

class MeCredentialDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty()
  label!: string;

  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  expiresAt!: Date | null;
}

export class MeDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty()
  username!: string;

  @ApiProperty()
  displayName!: string;

  @ApiProperty({ enum: ['active'], description: 'Always `active`: other channel users cannot call the API.' })
  status!: 'active';

  @ApiProperty({ type: String, format: 'date-time', nullable: true, description: 'When the account expires.' })
  expiresAt!: Date | null;

  @ApiProperty({ type: [String] })
  scopes!: readonly string[];

  @ApiProperty({ description: 'Whether you may create passwords by yourself (`POST /me/credentials`).' })
  selfService!: boolean;

  @ApiProperty()
  token!: MeTokenDto;

  @ApiProperty()
  credential!: MeCredentialDto;
}
