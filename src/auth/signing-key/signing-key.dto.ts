import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsBoolean, IsIn } from 'class-validator';
import { IsPlainText, MayBeAbsent } from '../../platform/api/validation.ts';
import {
  SIGNING_KEY_PURPOSES,
  SIGNING_KEY_STATES,
  type SigningKeyPurpose,
  type SigningKeyState,
} from './signing-key.entity.ts';

export class RevokeSigningKeyRequest {
  @ApiPropertyOptional({ minLength: 1, maxLength: 500, example: 'Backup tape lost' })
  @MayBeAbsent()
  @IsPlainText(1, 500)
  reason?: string;
}

export class RotateSigningKeyRequest extends RevokeSigningKeyRequest {
  @ApiPropertyOptional({ enum: SIGNING_KEY_PURPOSES, default: 'partner' })
  @MayBeAbsent()
  @IsIn(SIGNING_KEY_PURPOSES, { message: `must be one of ${SIGNING_KEY_PURPOSES.join(', ')}` })
  purpose?: SigningKeyPurpose;

  @ApiPropertyOptional({
    default: false,
    description:
      'Rotate even if the standby key was published less than five minutes ago. Verifiers may not have fetched it yet.',
  })
  @MayBeAbsent()
  @IsBoolean({ message: 'must be true or false' })
  emergency?: boolean;
}

export class SigningKeyDto {
  @ApiProperty({ description: 'The `kid` in the header of the tokens that the key signed (RFC 7638 thumbprint).' })
  kid!: string;

  @ApiProperty({ enum: SIGNING_KEY_PURPOSES, description: 'Only `partner` keys are in the JWKS.' })
  purpose!: SigningKeyPurpose;

  @ApiProperty({ enum: SIGNING_KEY_STATES })
  state!: SigningKeyState;

  @ApiProperty({ type: String, format: 'date-time' })
  createdAt!: Date;

  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  activatedAt!: Date | null;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    description: 'For a retiring key: when the last token that it may have signed expires.',
  })
  verifiesUntil!: Date | null;

  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  revokedAt!: Date | null;
}

export class SigningKeyListDto {
  @ApiProperty({ type: [SigningKeyDto] })
  items!: SigningKeyDto[];

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    description: 'When the partner key is rotated next; `null` if rotation is manual.',
  })
  nextRotationAt!: Date | null;
}
