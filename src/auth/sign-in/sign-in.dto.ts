import { ApiProperty } from '@nestjs/swagger';

/** Serves only the documentation. `token-request.ts` reads and checks the body. */
export class GenerateTokenForm {
  @ApiProperty({ maxLength: 256, description: 'Case-insensitive. The field may also be named `username`.' })
  Username!: string;

  @ApiProperty({
    maxLength: 256,
    description: 'Exactly as shown at onboarding. The field may also be named `password`.',
  })
  Password!: string;
}

/** The answer of RFC 6749 §5.1, for clients that accept JSON and not text. */
export class TokenDto {
  @ApiProperty()
  access_token!: string;

  @ApiProperty({ enum: ['Bearer'] })
  token_type!: 'Bearer';

  @ApiProperty({ description: 'In seconds.' })
  expires_in!: number;

  @ApiProperty({ description: 'Separated by spaces.' })
  scope!: string;
}

export class SignInErrorDto {
  @ApiProperty({ example: 'invalid_credentials', description: 'Same value as the Error-Code header.' })
  error!: string;

  @ApiProperty({ example: 'invalid username or password' })
  error_description!: string;
}
