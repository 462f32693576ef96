import { Injectable, Logger } from '@nestjs/common';
import { compactVerify, jwtVerify, type JWTPayload } from 'jose';
import {
  allowInsecureRequests,
  AuthorizationResponseError,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  buildEndSessionUrl,
  calculatePKCECodeChallenge,
  type ClientAuth,
  ClientSecretBasic,
  ClientSecretPost,
  Configuration,
  customFetch,
  fetchUserInfo,
  PrivateKeyJwt,
  type ServerMetadata,
} from 'openid-client';
import { Clock } from '../../platform/common/clock.ts';
import { Config } from '../../platform/config/config.ts';
import type { StaffOidcConfig } from '../../platform/config/staff-oidc.ts';
import { type Claims, emailOf, isSid, isSubject, isTruncated } from './claims.ts';
import { webKeyOf } from './client-key.ts';
import { DiscoveryService, type Provider } from './discovery.service.ts';
import type { Flow } from './flow.service.ts';
import {
  FlowNotFoundError,
  LogoutTokenError,
  OidcError,
  OidcNotConfiguredError,
  ProviderAnswerError,
  ProviderRefusedError,
  ProviderUnavailableError,
} from './oidc.errors.ts';
import { isOutage, withoutDetails } from './provider-failure.ts';
import { inTime, providerFetch } from './provider-fetch.ts';

/** The path to which the provider sends the browser back. */
const CALLBACK_PATH = '/admin/session/oidc/callback';
/** Milliseconds after which a logout token is too old. */
export const MAX_LOGOUT_TOKEN_AGE_MS = 600_000;
/** Algorithms of tokens: signatures only, so neither `none` nor a MAC under the client secret. */
const ALGORITHMS = [
  'ES256',
  'ES384',
  'ES512',
  'PS256',
  'PS384',
  'PS512',
  'RS256',
  'RS384',
  'RS512',
  'EdDSA',
  'Ed25519',
];
const SCOPES = 'openid profile email';

/** A person who signed in at the provider. */
export interface ProviderSignIn {
  readonly issuer: string;
  readonly subject: string;
  readonly sid: string | null;
  readonly claims: Claims;
  readonly idToken: string;
}

/** Talks to the identity provider of staff. Nothing is read before somebody signs in. */
@Injectable()
export class IdentityProviderService {
  readonly #logger = new Logger(IdentityProviderService.name);
  /** Milliseconds for all requests to the provider of one request of a browser, which has a deadline itself. */
  timeoutMs = 3_000;

  constructor(
    private readonly config: Config,
    private readonly discovery: DiscoveryService,
    private readonly clock: Clock,
  ) {}

  /** What people call the provider; nothing without one. */
  get name(): string | undefined {
    return this.config.staffOidc?.name;
  }

  /** @throws OidcNotConfiguredError */
  get settings(): StaffOidcConfig {
    if (!this.config.staffOidc) throw new OidcNotConfiguredError();
    return this.config.staffOidc;
  }

  /** The address of the console, without a trailing slash. */
  get consoleUrl(): string {
    return this.config.adminUrl ?? this.config.publicUrl;
  }

  /**
   * The page of the provider where a person signs in.
   *
   * @param flow what the answer has to fit
   * @throws ProviderUnavailableError
   */
  async authorizationUrl({ state, nonce, verifier }: Flow): Promise<string> {
    const signal = AbortSignal.timeout(this.timeoutMs);
    const { configuration } = await this.#connect(signal);
    return buildAuthorizationUrl(configuration, {
      redirect_uri: `${this.consoleUrl}${CALLBACK_PATH}`,
      response_type: 'code',
      response_mode: 'query',
      scope: SCOPES,
      state,
      nonce,
      code_challenge: await calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    }).href;
  }

  /**
   * Exchanges the code of the provider's answer for the identity of a person.
   *
   * @param query the query of the answer, with its `?`
   * @throws FlowNotFoundError, ProviderRefusedError, ProviderAnswerError, ProviderUnavailableError
   */
  async signIn(query: string, { state, nonce, verifier }: Flow): Promise<ProviderSignIn> {
    const signal = AbortSignal.timeout(this.timeoutMs);
    const { configuration, provider } = await this.#connect(signal);
    if (new URLSearchParams(query).get('state') !== state) throw new FlowNotFoundError();
    try {
      const tokens = await authorizationCodeGrant(configuration, new URL(this.consoleUrl + CALLBACK_PATH + query), {
        expectedState: state,
        expectedNonce: nonce,
        pkceCodeVerifier: verifier,
        idTokenExpected: true,
      });
      const { id_token: idToken = '' } = tokens;
      // OpenID Connect lets a client trust the connection instead of the signature; this does not.
      await inTime(compactVerify(idToken, provider.keys, { algorithms: ALGORITHMS }), signal);
      const claims: Claims = { ...tokens.claims() };
      const { iss: issuer, sub: subject, sid } = claims;
      if (!isSubject(subject) || typeof issuer !== 'string') throw new Error('The ID token has no usable sub');
      const all = await this.#withUserInfo(configuration, tokens.access_token, subject, claims);
      return { issuer, subject, sid: isSid(sid) ? sid : null, claims: all, idToken };
    } catch (error) {
      throw this.#errorOf(error, signal);
    }
  }

  /** Adds the claims of the UserInfo endpoint where the ID token lacks e-mail or groups. Those of the ID token hold. */
  async #withUserInfo(configuration: Configuration, token: string, subject: string, claims: Claims): Promise<Claims> {
    const { userinfo_endpoint: endpoint } = configuration.serverMetadata();
    const { groupsClaim } = this.settings;
    const lacksGroups = !Object.hasOwn(claims, groupsClaim) && !isTruncated(claims, groupsClaim);
    if ((emailOf(claims) !== undefined && !lacksGroups) || endpoint === undefined) return claims;
    return { ...(await fetchUserInfo(configuration, token, subject)), ...claims };
  }

  /**
   * The page of the provider where a person signs out.
   *
   * @param idToken of the sign-in, if it is still known
   * @returns nothing when the provider has no such page, or cannot be reached
   */
  async endSessionUrl(idToken: string | undefined): Promise<string | undefined> {
    try {
      const { configuration } = await this.#connect(AbortSignal.timeout(this.timeoutMs));
      if (configuration.serverMetadata().end_session_endpoint === undefined) return undefined;
      return buildEndSessionUrl(configuration, {
        post_logout_redirect_uri: `${this.consoleUrl}/console/`,
        ...(idToken !== undefined && { id_token_hint: idToken }),
      }).href;
    } catch (error) {
      if (error instanceof OidcError) return undefined;
      throw error;
    }
  }

  /**
   * Verifies signature, type, issuer, audience and times of a logout token (OpenID Connect Back-Channel Logout §2.6).
   *
   * @throws LogoutTokenError, ProviderUnavailableError
   */
  async verifyLogoutToken(token: string): Promise<JWTPayload> {
    const { clientId } = this.settings;
    const signal = AbortSignal.timeout(this.timeoutMs);
    const { provider } = await this.#connect(signal);
    const verification = jwtVerify(token, provider.logoutKeys, {
      algorithms: ALGORITHMS,
      typ: 'logout+jwt',
      issuer: provider.metadata.issuer,
      audience: clientId,
      requiredClaims: ['iat', 'jti', 'exp'],
      clockTolerance: 30,
      currentDate: new Date(this.clock.now()),
      maxTokenAge: MAX_LOGOUT_TOKEN_AGE_MS / 1000,
    });
    try {
      return (await inTime(verification, signal)).payload;
    } catch (error) {
      const refusal = this.#errorOf(error, signal);
      throw refusal.status === 503 ? refusal : new LogoutTokenError('is not valid: signature, type, iss, aud or times');
    }
  }

  /** @throws ProviderUnavailableError, OidcNotConfiguredError */
  async #connect(signal: AbortSignal): Promise<{ configuration: Configuration; provider: Provider }> {
    const { clientId, issuer, name } = this.settings;
    let provider: Provider;
    try {
      provider = await inTime(this.discovery.find(this.timeoutMs), signal);
    } catch (error) {
      this.#complain('The identity provider cannot be used', error);
      throw new ProviderUnavailableError(name, withoutDetails(error));
    }
    const { metadata } = provider;
    const configuration = new Configuration(metadata, clientId, {}, await this.#clientAuth(metadata));
    configuration[customFetch] = providerFetch(signal) as never;
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- marked so to stand out; production requires https
    if (issuer.startsWith('http:')) allowInsecureRequests(configuration);
    return { configuration, provider };
  }

  async #clientAuth({ token_endpoint_auth_methods_supported: methods }: ServerMetadata): Promise<ClientAuth> {
    const { clientKey } = this.settings;
    if (clientKey.kind === 'private-key') return PrivateKeyJwt(await webKeyOf(clientKey.key));
    // Providers decode the secret of Basic differently, so it comes second. It is the default where none is listed.
    const usesPost = methods?.includes('client_secret_post') === true;
    return usesPost ? ClientSecretPost(clientKey.secret) : ClientSecretBasic(clientKey.secret);
  }

  #errorOf(error: unknown, signal: AbortSignal): OidcError {
    const { name } = this.settings;
    if (error instanceof OidcError) return error;
    this.#complain('A sign-in at the identity provider failed', error);
    if (error instanceof AuthorizationResponseError) return new ProviderRefusedError(name);
    const cause = withoutDetails(error);
    return isOutage(error) || signal.aborted
      ? new ProviderUnavailableError(name, cause)
      : new ProviderAnswerError(name, cause);
  }

  #complain(what: string, error: unknown): void {
    this.#logger.warn(`${what}: ${withoutDetails(error).message}`);
  }
}
