import { Injectable } from '@nestjs/common';
import { JwtService } from '@nestjs/jwt';
import { LRUCache } from 'lru-cache';
import { randomUUID } from 'node:crypto';
import { Clock } from '../common/clock.ts';
import { UUID_PATTERN } from '../common/page.ts';
import type { CurrentChannelUser } from '../common/request-context.ts';
import { signatureTraces } from '../common/tracing.ts';
import { Config } from '../config/config.ts';
import { type SigningKeyPurpose, SigningKeyService, type VerificationKey } from '../signing-key/signing-key.service.ts';
import { InvalidTokenError } from './auth.errors.ts';

/** A token of each plane is signed by its own key, has its own `typ` and its own `aud`. */
export type Plane = SigningKeyPurpose;

/** RFC 9068 §2.1 for partners; staff tokens must not be mistaken for access tokens. */
const TYPES: Record<Plane, string> = { partner: 'at+jwt', staff: 'staff+jwt' };
const PLANES = new Map<unknown, Plane>([
  [TYPES.partner, 'partner'],
  [TYPES.staff, 'staff'],
]);
const ALGORITHM = 'ES256';
/** Ours have about 700 bytes. */
const MAX_TOKEN_LENGTH = 8192;
const EXPIRED = 'The token has expired.';

/** The claims that every token has; times are in seconds since the epoch. */
export interface TokenClaims {
  readonly sub: string;
  readonly jti: string;
  readonly iat: number;
  readonly exp: number;
  readonly [claim: string]: unknown;
}

export interface VerifiedToken {
  readonly plane: Plane;
  readonly claims: TokenClaims;
  /** The key that verified it. */
  readonly key: VerificationKey;
  /** What the token meant for the state of its account when it was last used; the guard's shortcut. */
  memo?: { readonly account: object; readonly principal: CurrentChannelUser };
}

export interface SignedToken {
  readonly token: string;
  readonly claims: TokenClaims;
}

const isUuid = (value: unknown): value is string => typeof value === 'string' && UUID_PATTERN.test(value);
const isSeconds = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) > 0;

/** Decodes one part of a token; only the one canonical spelling of its bytes is accepted. */
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
    // Not JSON: the same answer as for JSON of another kind.
  }
  throw new InvalidTokenError();
}

/** Signs and verifies the JWTs of both planes. Who a token belongs to, and what state they are in, others decide. */
@Injectable()
export class TokenService {
  /** By the exact token. */
  readonly #verified: LRUCache<string, VerifiedToken>;

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
   * @param lifeSeconds how long it is valid
   * @param claims the plane's own claims
   */
  async sign(
    plane: Plane,
    subject: string,
    lifeSeconds: number,
    claims: Record<string, unknown>,
  ): Promise<SignedToken> {
    const iat = Math.floor(this.clock.now() / 1000);
    const payload = {
      iss: this.config.publicUrl,
      aud: this.#audience(plane),
      sub: subject,
      ...claims,
      iat,
      exp: iat + lifeSeconds,
      jti: randomUUID(),
    };
    const { kid, privateKey } = await this.keys.current(plane);
    // A KeyObject: a PEM string would be parsed at each call. JwtService types only take strings.
    const options = {
      privateKey: privateKey as unknown as string,
      algorithm: ALGORITHM,
      header: { alg: ALGORITHM, typ: TYPES[plane], kid },
    } as const;
    const token = signatureTraces.traceSync(() => this.jwt.sign(payload, options));
    return { token, claims: payload };
  }

  /**
   * Verifies everything that the token itself says. A signature that was verified is not verified again.
   *
   * @throws InvalidTokenError
   */
  verify(token: string): VerifiedToken | Promise<VerifiedToken> {
    const known = this.#verified.get(token);
    // The entry dies with its key.
    if (!known || this.keys.peek(known.key.kid) !== known.key) return this.#verify(token);
    if (known.claims.exp <= Math.floor(this.clock.now() / 1000)) {
      this.#verified.delete(token);
      throw new InvalidTokenError(EXPIRED);
    }
    return known;
  }

  /** As {@link verify}. @returns nothing for a token that is not valid in itself */
  async verified(token: string): Promise<VerifiedToken | undefined> {
    try {
      return await this.verify(token);
    } catch (error) {
      if (error instanceof InvalidTokenError) return undefined;
      throw error;
    }
  }

  async #verify(token: string): Promise<VerifiedToken> {
    const parts = token.length <= MAX_TOKEN_LENGTH ? token.split('.', 4) : [];
    const [header, payload, signature] = parts;
    if (parts.length !== 3 || !header || !payload || !signature) throw new InvalidTokenError();
    decodePart(payload);
    // An ES256 signature is exactly r and s (RFC 7518 §3.4).
    if (decodePart(signature).length !== 64) throw new InvalidTokenError();
    const { alg, typ, kid, crit } = parseObject(decodePart(header));
    const plane = PLANES.get(typ);
    // No extension is understood here, so `crit` with any value must be refused (RFC 7515 §4.1.11).
    if (alg !== ALGORITHM || plane === undefined || typeof kid !== 'string' || crit !== undefined) {
      throw new InvalidTokenError();
    }
    const key = /^[A-Za-z0-9_-]{43}$/.test(kid) ? await this.keys.find(kid) : undefined;
    if (key?.purpose !== plane) throw new InvalidTokenError();
    const claims = this.#verifyClaims(token, plane, key.publicKey as unknown as string);
    const verified: VerifiedToken = { plane, claims, key };
    this.#verified.set(token, verified);
    return verified;
  }

  #verifyClaims(token: string, plane: Plane, publicKey: string): TokenClaims {
    let claims: Record<string, unknown>;
    try {
      claims = this.jwt.verify<Record<string, unknown>>(token, {
        publicKey,
        algorithms: [ALGORITHM],
        issuer: this.config.publicUrl,
        audience: this.#audience(plane),
        clockTimestamp: Math.floor(this.clock.now() / 1000),
      });
    } catch (error) {
      const expired = error instanceof Error && error.name === 'TokenExpiredError';
      throw new InvalidTokenError(expired ? EXPIRED : undefined, error);
    }
    // jsonwebtoken accepts tokens without these, and audiences that are lists.
    const { sub, jti, iat, exp, aud } = claims;
    if (!isUuid(sub) || !isUuid(jti) || !isSeconds(iat) || !isSeconds(exp) || aud !== this.#audience(plane)) {
      throw new InvalidTokenError();
    }
    return { ...claims, sub, jti, iat, exp };
  }

  #audience(plane: Plane): string {
    return plane === 'partner' ? this.config.tokenAudience : `${this.config.publicUrl}/admin`;
  }
}
