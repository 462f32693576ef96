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

  @ApiPropertyOptional({ example: 'calendar:write', description: 'Some of the scopes of the account; absent: all.' })
  scope?: string;
}

export class TokenReferenceForm extends ClientForm {
  @ApiProperty()
  token!: string;

  @ApiPropertyOptional({ example: 'access_token', description: 'Makes no difference.' })
  token_type_hint?: string;
}

/** RFC 6749 §5.1. */
export class AccessTokenAnswer {
  @ApiProperty()
  access_token!: string;

  @ApiProperty({ enum: ['Bearer'] })
  token_type!: 'Bearer';

  @ApiProperty({ description: 'Seconds.' })
  expires_in!: number;

  @ApiProperty()
  scope!: string;
}

/** RFC 6749 §5.2. */
export class OAuthErrorDto {
  @ApiProperty({ example: 'invalid_client' })
  error!: string;

  @ApiProperty()
  error_description!: string;
}

/** RFC 7662 §2.2. Only `active` when the token is not. */
export class IntrospectionAnswer {
  @ApiProperty()
  active!: boolean;

  @ApiPropertyOptional({ description: 'The scopes of the token that its account still has.' })
  scope?: string;

  @ApiPropertyOptional()
  client_id?: string;

  @ApiPropertyOptional()
  username?: string;

  @ApiPropertyOptional({ enum: ['Bearer'] })
  token_type?: 'Bearer';

  @ApiPropertyOptional({ description: 'Seconds since the epoch.' })
  exp?: number;

  @ApiPropertyOptional({ description: 'Seconds since the epoch.' })
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

/** RFC 8414 §2. */
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

  @ApiProperty({ type: [String], description: 'None: there is no authorization endpoint.' })
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

/** RFC 7517 §5. */
export class JwksDto {
  @ApiProperty({ type: [JwkDto] })
  keys!: JwkDto[];
}
