import { ApiProperty } from '@nestjs/swagger';

/** Only for the documentation: the body is read and checked by `token-request.ts`. */
export class GenerateTokenForm {
  @ApiProperty({ maxLength: 256, description: 'Case makes no difference. `username` is the same field.' })
  Username!: string;

  @ApiProperty({ maxLength: 256, description: 'Exactly as shown at onboarding. `password` is the same field.' })
  Password!: string;
}

/** RFC 6749 §5.1, for clients that accept JSON and not text. */
export class TokenResponse {
  @ApiProperty()
  access_token!: string;

  @ApiProperty({ enum: ['Bearer'] })
  token_type!: 'Bearer';

  @ApiProperty({ description: 'Seconds.' })
  expires_in!: number;

  @ApiProperty({ description: 'Space separated.' })
  scope!: string;
}

export class SignInErrorDto {
  @ApiProperty({ example: 'invalid_credentials', description: 'The same as the Error-Code header.' })
  error!: string;

  @ApiProperty({ example: 'invalid username or password' })
  error_description!: string;
}

class MeTokenDto {
  @ApiProperty({ format: 'uuid', description: 'The `jti`.' })
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

  @ApiProperty({ enum: ['active'], description: 'Nobody else gets this far.' })
  status!: 'active';

  @ApiProperty({ type: [String] })
  scopes!: readonly string[];

  @ApiProperty()
  token!: MeTokenDto;

  @ApiProperty()
  credential!: MeCredentialDto;
}
