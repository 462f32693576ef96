import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';

class ClientForm {
  @ApiPropertyOptional({ example: 'blue-channel', description: 'The username, for `client_secret_post`.' })
  client_id?: string;

  @ApiPropertyOptional({ description: 'The password, for `client_secret_post`.' })
  client_secret?: string;
}

export class TokenForm extends ClientForm {
  @ApiProperty({ enum: ['client_credentials'] })
  grant_type!: string;

  @ApiPropertyOptional({
    example: 'calendar:write',
    description: 'Scopes to request, separated by spaces. Default: all scopes of the channel user.',
  })
  scope?: string;
}

export class TokenReferenceForm extends ClientForm {
  @ApiProperty()
  token!: string;

  @ApiPropertyOptional({ example: 'access_token', description: 'Accepted and ignored.' })
  token_type_hint?: string;
}

/** The token answer of RFC 6749 §5.1. */
export class AccessTokenDto {
  @ApiProperty()
  access_token!: string;

  @ApiProperty({ enum: ['Bearer'] })
  token_type!: 'Bearer';

  @ApiProperty({ description: 'In seconds.' })
  expires_in!: number;

  @ApiProperty()
  scope!: string;
}

/** The error answer of RFC 6749 §5.2. */
export class OAuthErrorDto {
  @ApiProperty({ example: 'invalid_client' })
  error!: string;

  @ApiProperty()
  error_description!: string;
}

/** The introspection answer of RFC 7662 §2.2. For an inactive token, `active` is the only member. */
export class IntrospectionDto {
  @ApiProperty()
  active!: boolean;

  @ApiPropertyOptional({ description: "The token's scopes, without those since withdrawn from the channel user." })
  scope?: string;

  @ApiPropertyOptional()
  client_id?: string;

  @ApiPropertyOptional()
  username?: string;

  @ApiPropertyOptional({ enum: ['Bearer'] })
  token_type?: 'Bearer';

  @ApiPropertyOptional({ description: 'Seconds since 1970-01-01T00:00:00Z.' })
  exp?: number;

  @ApiPropertyOptional({ description: 'Seconds since 1970-01-01T00:00:00Z.' })
  iat?: number;

  @ApiPropertyOptional({ format: 'uuid' })
  sub?: string;

  @ApiPropertyOptional()
  aud?: string;

  @ApiPropertyOptional()
  iss?: string;

  @ApiPropertyOptional({ format: 'uuid' })
  jti?: string;
}

/** The server metadata of RFC 8414 §2. */
export class ServerMetadataDto {
  @ApiProperty()
  issuer!: string;

  @ApiProperty()
  token_endpoint!: string;

  @ApiProperty()
  jwks_uri!: string;

  @ApiProperty()
  introspection_endpoint!: string;

  @ApiProperty()
  revocation_endpoint!: string;

  @ApiProperty({ type: [String] })
  grant_types_supported!: string[];

  @ApiProperty({ type: [String], description: 'Empty, because there is no authorization endpoint.' })
  response_types_supported!: string[];

  @ApiProperty({ type: [String] })
  token_endpoint_auth_methods_supported!: string[];

  @ApiProperty({ type: [String] })
  introspection_endpoint_auth_methods_supported!: string[];

  @ApiProperty({ type: [String] })
  revocation_endpoint_auth_methods_supported!: string[];

  @ApiProperty()
  service_documentation!: string;
}

class JwkDto {
  @ApiProperty({ enum: ['EC'] })
  kty!: string;

  @ApiProperty({ enum: ['P-256'] })
  crv!: string;

  @ApiProperty()
  x!: string;

  @ApiProperty()
  y!: string;

  @ApiProperty()
  kid!: string;

  @ApiProperty({ enum: ['sig'] })
  use!: string;

  @ApiProperty({ enum: ['ES256'] })
  alg!: string;
}

/** The key set of RFC 7517 §5. */
export class JwksDto {
  @ApiProperty({ type: [JwkDto] })
  keys!: JwkDto[];
}
