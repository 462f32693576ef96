import { ApiProperty } from '@nestjs/swagger';
import { IsString, Matches } from 'class-validator';
import { HANDOVER_STATUSES, type HandoverStatus } from './handover.entity.ts';

export class RevealRequest {
  @ApiProperty({
    pattern: '^[A-Za-z0-9_-]{43}$',
    example: 'wUmYgRcXHBhD9cPCrlrYDLP1UnTZCwkqNR8vJLxRI5o',
    description: 'The part of the link after the #.',
  })
  @IsString({ message: 'must be text' })
  @Matches(/^[A-Za-z0-9_-]{43}$/, { message: 'must be the 43 characters that follow the # of the link' })
  secret!: string;
}

export class RevealedDto {
  @ApiProperty({ example: 'blue-channel' })
  username!: string;

  @ApiProperty({ format: 'uuid', description: 'Shown only in this response; nobody can read it again.' })
  password!: string;

  @ApiProperty({ example: 'Blue Channel Manager' })
  displayName!: string;

  @ApiProperty({ format: 'uri', example: 'https://partners.example/generateToken' })
  tokenEndpoint!: string;

  @ApiProperty({
    type: String,
    nullable: true,
    example: '3f2a90bc',
    description: "The first 8 hexadecimal digits of the password's SHA-256, as staff see them.",
  })
  fingerprint!: string | null;
}

export class HandoverDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty({ format: 'uuid' })
  credentialId!: string;

  @ApiProperty({ enum: HANDOVER_STATUSES })
  status!: HandoverStatus;

  @ApiProperty({ type: String, format: 'date-time' })
  createdAt!: Date;

  @ApiProperty({ type: String, format: 'date-time' })
  expiresAt!: Date;

  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  revealedAt!: Date | null;

  @ApiProperty({ type: String, nullable: true, description: 'The address from which the password was revealed.' })
  revealedAddress!: string | null;
}

export class HandoverListDto {
  @ApiProperty({ type: [HandoverDto] })
  items!: HandoverDto[];
}

export class NewHandoverDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty({ type: String, format: 'date-time', description: 'Never later than the expiry of the credential.' })
  expiresAt!: Date;
}
