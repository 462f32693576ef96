import { ApiProperty } from '@nestjs/swagger';
import { Matches } from 'class-validator';
import { IsPlainText } from '../platform/api/validation.ts';

/** An identity of the provider of `STAFF_OIDC_ISSUER`. */
export class StaffIdentityDto {
  @ApiProperty({ format: 'uri', description: 'The issuer of the identity.' })
  issuer!: string;

  @ApiProperty({ description: 'The `sub` of the person there.' })
  subject!: string;
}

export class AttachIdentityRequest {
  @ApiProperty({
    minLength: 1,
    maxLength: 255,
    description: 'The `sub` of the person at the identity provider. The page of the refused sign-in shows it.',
  })
  @IsPlainText(1, 255)
  // With any other sub, the person could not sign in (OpenID Connect Core §2).
  @Matches(/^[\x20-\x7e]*$/, { message: 'must consist of ASCII characters' })
  subject!: string;
}

export class SignedOutDto {
  @ApiProperty({ format: 'uri', description: 'The page of the identity provider where the person signs out there.' })
  endSessionUrl!: string;
}
