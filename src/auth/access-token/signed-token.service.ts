import { Injectable } from '@nestjs/common';
import { JwtService } from '@nestjs/jwt';
import { LRUCache } from 'lru-cache';
import { hash, randomUUID } from 'node:crypto';
import type { Account, AccountCredential } from '../../channel-user/account/account.rules.ts';
import { Clock } from '../../platform/common/clock.ts';
import { SharedValues } from '../../platform/common/shared-values.ts';
import { UUID_PATTERN } from '../../platform/common/uuid.ts';
import { signatureTraces } from '../../platform/common/tracing.ts';
import { Config } from '../../platform/config/config.ts';
import type { SigningKeyPurpose } from '../signing-key/signing-key.entity.ts';
import { SigningKeyService, type VerificationKey } from '../signing-key/signing-key.service.ts';
import { InvalidTokenError } from './access-token.errors.ts';

/** The API that a token is for. Each API's tokens have their own signing key, `typ` and `aud`. */
export type TokenApi = SigningKeyPurpose;

/** The `typ` of each API's tokens. Access tokens have that of RFC 9068 §2.1, which staff tokens must not have. */
const TYPES: Record<TokenApi, string> = { partner: 'at+jwt', staff: 'staff+jwt' };
const API_OF_TYPE = new Map<unknown, TokenApi>([
  [TYPES.partner, 'partner'],
  [TYPES.staff, 'staff'],
]);
const ALGORITHM = 'ES256';
/** Characters of the longest token that is looked at. Latchkey's own tokens have about 700. */
const MAX_TOKEN_LENGTH = 8192;
const EXPIRED = 'The token has expired.';

/** The claims that Latchkey reads. Verification checks all others. Times are in seconds since the epoch. */
export interface TokenClaims {
  readonly sub: string;
  readonly jti: string;
  readonly iat: number;
  readonly exp: number;
  /** Tokens of partners have the following claims: the credential, the token generation, and the scopes. */
  readonly cid?: unknown;
  readonly epoch?: unknown;
  readonly scope?: string | undefined;
}

/**
 * A token whose signature, type and standard claims were verified. One flat object, because an instance keeps many.
 */
export class VerifiedToken implements TokenClaims {
  readonly jti: string;
  readonly iat: number;
  readonly exp: number;
  readonly epoch: unknown;
  readonly scope: string | undefined;
  #sub: string;
  #cid: unknown;
  #account: Account | undefined;
  #scopes: readonly string[] = [];

  constructor(
    readonly api: TokenApi,
    /** The key that verified the token. */
    readonly key: VerificationKey,
    { sub, jti, iat, exp, cid, epoch, scope }: TokenClaims,
  ) {
    this.#sub = sub;
    this.jti = jti;
    this.iat = iat;
    this.exp = exp;
    this.#cid = cid;
    this.epoch = epoch;
    this.scope = scope;
  }

  get sub(): string {
    return this.#sub;
  }

  get cid(): unknown {
    return this.#cid;
  }

  /** The account that last accepted the token. */
  get account(): Account | undefined {
    return this.#account;
  }

  /** The token's scopes that {@link account} has. */
  get scopes(): readonly string[] {
    return this.#scopes;
  }

  /** Remembers who accepted the token, and shares the ids of account and credential instead of keeping copies. */
  accept(account: Account, credential: AccountCredential, scopes: readonly string[]): void {
    this.#account = account;
    this.#scopes = scopes;
    this.#sub = account.id;
    this.#cid = credential.id;
  }
}

export interface SignedToken {
  readonly token: string;
  readonly claims: TokenClaims;
}

const isUuid = (value: unknown): value is string => typeof value === 'string' && UUID_PATTERN.test(value);
const isSeconds = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) > 0;

const digestOf = (token: string): string => hash('sha256', token, 'binary');

/** Decodes one part of a token. Rejects every spelling of its bytes but canonical base64url. */
function decodePart(part: string): Buffer {
  const bytes = Buffer.from(part, 'base64url');
  if (bytes.length === 0 || bytes.toString('base64url') !== part) throw new InvalidTokenError();
  return bytes;
}

function parseObject(bytes: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(bytes.toString());
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Text that is not JSON gets the same answer as JSON that is not an object.
  }
  throw new InvalidTokenError();
}

/** The refusal of a token whose signature is valid and whose time is over. */
const expired = (api: TokenApi, sub: unknown, cause?: unknown): InvalidTokenError =>
  new InvalidTokenError(
    EXPIRED,
    cause,
    api === 'partner' && isUuid(sub) ? { channelUserId: sub, reason: 'token_expired' } : undefined,
  );

/**
 * Signs tokens and verifies their signature, type and standard claims. `AccessTokenService` decides whether a partner
 * may still use a token, and `StaffAuthenticator` decides it for staff.
 */
@Injectable()
export class SignedTokenService {
  /** Verified tokens by the SHA-256 of their text, which takes less memory than the text. */
  readonly #verified: LRUCache<string, VerifiedToken>;
  readonly #scopes = new SharedValues<string>();

  constructor(
    private readonly jwt: JwtService,
    private readonly keys: SigningKeyService,
    private readonly config: Config,
    private readonly clock: Clock,
  ) {
    this.#verified = new LRUCache({ max: config.tokenCacheSize });
  }

  /**
   * Signs a token that is valid from now.
   *
   * @param subject the holder's id
   * @param lifeSeconds how long the token is valid
   * @param claims added to the standard ones
   */
  async sign(
    api: TokenApi,
    subject: string,
    lifeSeconds: number,
    claims: Record<string, unknown>,
  ): Promise<SignedToken> {
    const iat = Math.floor(this.clock.now() / 1000);
    const payload = {
      iss: this.config.publicUrl,
      aud: this.#audience(api),
      sub: subject,
      ...claims,
      iat,
      exp: iat + lifeSeconds,
      jti: randomUUID(),
    };
    const { kid, privateKey } = await this.keys.current(api);
    // A PEM string would be parsed at each call, so this is a KeyObject. JwtService's types allow only strings.
    const options = {
      privateKey: privateKey as unknown as string,
      algorithm: ALGORITHM,
      header: { alg: ALGORITHM, typ: TYPES[api], kid },
    } as const;
    const token = signatureTraces.traceSync(() => this.jwt.sign(payload, options));
    return { token, claims: payload };
  }

  /**
   * Verifies signature, type and standard claims. A token that is verified again is found in memory.
   *
   * @throws InvalidTokenError
   */
  verify(token: string): VerifiedToken | Promise<VerifiedToken> {
    if (token.length > MAX_TOKEN_LENGTH) throw new InvalidTokenError();
    const digest = digestOf(token);
    const known = this.#verified.get(digest);
    // An entry is valid only while its key verifies.
    if (!known || this.keys.peek(known.key.kid) !== known.key) return this.#verify(token, digest);
    if (known.exp <= Math.floor(this.clock.now() / 1000)) {
      this.#verified.delete(digest);
      throw expired(known.api, known.sub);
    }
    return known;
  }

  /** A token as it was verified before, whether or not it is still valid. Only for records of calls that failed. */
  peek(token: string): VerifiedToken | undefined {
    return this.#verified.peek(digestOf(token));
  }

  /** Does the same as {@link verify}. @returns nothing for an invalid token */
  async verified(token: string): Promise<VerifiedToken | undefined> {
    try {
      return await this.verify(token);
    } catch (error) {
      if (error instanceof InvalidTokenError) return undefined;
      throw error;
    }
  }

  async #verify(token: string, digest: string): Promise<VerifiedToken> {
    const parts = token.split('.', 4);
    const [header, payload, signature] = parts;
    if (parts.length !== 3 || !header || !payload || !signature) throw new InvalidTokenError();
    decodePart(payload);
    // An ES256 signature is r and s, 32 bytes each (RFC 7518 §3.4).
    if (decodePart(signature).length !== 64) throw new InvalidTokenError();
    const { alg, typ, kid, crit } = parseObject(decodePart(header));
    const api = API_OF_TYPE.get(typ);
    // Latchkey implements no extension, so any `crit` must be refused (RFC 7515 §4.1.11).
    if (alg !== ALGORITHM || api === undefined || typeof kid !== 'string' || crit !== undefined) {
      throw new InvalidTokenError();
    }
    const key = /^[A-Za-z0-9_-]{43}$/.test(kid) ? await this.keys.find(kid) : undefined;
    if (key?.purpose !== api) throw new InvalidTokenError();
    const claims = this.#verifyClaims(token, api, key.publicKey as unknown as string);
    const verified = new VerifiedToken(api, key, claims);
    this.#verified.set(digest, verified);
    return verified;
  }

  #verifyClaims(token: string, api: TokenApi, publicKey: string): TokenClaims {
    let claims: Record<string, unknown>;
    try {
      claims = this.jwt.verify<Record<string, unknown>>(token, {
        publicKey,
        algorithms: [ALGORITHM],
        issuer: this.config.publicUrl,
        audience: this.#audience(api),
        clockTimestamp: Math.floor(this.clock.now() / 1000),
      });
    } catch (error) {
      // Only a token whose signature is valid is called expired.
      if (error instanceof Error && error.name === 'TokenExpiredError') {
        throw expired(api, this.jwt.decode<Record<string, unknown>>(token)['sub'], error);
      }
      throw new InvalidTokenError(undefined, error);
    }
    // jsonwebtoken accepts tokens without these claims, and lists as audience.
    const { sub, jti, iat, exp, aud, cid, epoch, scope } = claims;
    if (!isUuid(sub) || !isUuid(jti) || !isSeconds(iat) || !isSeconds(exp) || aud !== this.#audience(api)) {
      throw new InvalidTokenError();
    }
    return {
      sub,
      jti,
      iat,
      exp,
      cid,
      epoch,
      scope: typeof scope === 'string' ? this.#scopes.of(scope, scope) : undefined,
    };
  }

  #audience(api: TokenApi): string {
    return api === 'partner' ? this.config.tokenAudience : `${this.config.publicUrl}/admin`;
  }
}
