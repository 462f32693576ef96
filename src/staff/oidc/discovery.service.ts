import { Injectable, Logger } from '@nestjs/common';
import { createRemoteJWKSet, customFetch as joseFetch } from 'jose';
import { allowInsecureRequests, customFetch, discovery, type ServerMetadata } from 'openid-client';
import { Clock } from '../../platform/common/clock.ts';
import { Config } from '../../platform/config/config.ts';
import { OidcNotConfiguredError } from './oidc.errors.ts';
import { withoutDetails } from './provider-failure.ts';
import { providerFetch } from './provider-fetch.ts';

/** Milliseconds for which the provider's metadata is used. */
const METADATA_MS = 3_600_000;
/** Milliseconds for which the provider's keys are used. A token of an unknown key reads them again. */
const KEYS_MS = 300_000;
/** Milliseconds between two reads of the keys because of logout tokens, which anybody can send. */
const LOGOUT_COOLDOWN_MS = 30_000;

type KeySet = ReturnType<typeof createRemoteJWKSet>;

/** What was discovered. */
export interface Provider {
  readonly metadata: ServerMetadata;
  readonly keys: KeySet;
  readonly logoutKeys: KeySet;
  /** On the clock of `Clock.elapsed()`. */
  readonly until: number;
}

/** Reads the metadata of the identity provider when somebody needs it (OpenID Connect Discovery). */
@Injectable()
export class DiscoveryService {
  readonly #logger = new Logger(DiscoveryService.name);
  #known: Provider | undefined;
  #running: Promise<Provider> | undefined;

  constructor(
    private readonly config: Config,
    private readonly clock: Clock,
  ) {}

  /**
   * The provider's metadata, read once by all requests that need it. If a later read fails, the old one goes on.
   *
   * @param timeoutMs milliseconds for each request to the provider
   */
  async find(timeoutMs: number): Promise<Provider> {
    const known = this.#known;
    if (known && this.clock.elapsed() < known.until) return known;
    // With old metadata, there has to be time left for the sign-in itself.
    this.#running ??= this.#discover(timeoutMs, known ? timeoutMs / 3 : timeoutMs).finally(() => {
      this.#running = undefined;
    });
    try {
      return (this.#known = await this.#running);
    } catch (error) {
      if (!known) throw error;
      const { message } = withoutDetails(error);
      this.#logger.warn(`Reading the metadata of the identity provider failed, using the old one: ${message}`);
      return known;
    }
  }

  async #discover(timeoutMs: number, discoveryMs: number): Promise<Provider> {
    if (!this.config.staffOidc) throw new OidcNotConfiguredError();
    const { issuer, clientId } = this.config.staffOidc;
    const insecure = issuer.startsWith('http:');
    const found = await discovery(new URL(issuer), clientId, {}, undefined, {
      [customFetch]: providerFetch(AbortSignal.timeout(discoveryMs)) as never,
      // eslint-disable-next-line @typescript-eslint/no-deprecated -- marked so to stand out; production requires https
      ...(insecure && { execute: [allowInsecureRequests] }),
    });
    const metadata = found.serverMetadata();
    // openid-client makes exceptions for Microsoft's multi-tenant issuers, where anybody's tenant would sign in.
    // It also ignores a slash at the end, but identities are compared as text.
    if (metadata.issuer !== issuer) {
      const found = JSON.stringify(metadata.issuer).slice(0, 200);
      throw new Error(`The metadata names the issuer ${found}: set STAFF_OIDC_ISSUER to it, if it is yours`);
    }
    if (metadata.jwks_uri === undefined) throw new Error('The metadata has no jwks_uri');
    const url = new URL(metadata.jwks_uri);
    if (url.protocol !== 'https:' && !insecure) throw new Error('The jwks_uri is no https URL');
    const keys = (cooldownDuration: number): KeySet =>
      createRemoteJWKSet(url, {
        cooldownDuration,
        cacheMaxAge: KEYS_MS,
        timeoutDuration: timeoutMs,
        [joseFetch]: providerFetch(),
      });
    return { metadata, keys: keys(0), logoutKeys: keys(LOGOUT_COOLDOWN_MS), until: this.clock.elapsed() + METADATA_MS };
  }
}
