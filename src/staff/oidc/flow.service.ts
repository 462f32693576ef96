import { Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { randomNonce, randomPKCECodeVerifier, randomState } from 'openid-client';
import { Clock } from '../../platform/common/clock.ts';
import { Config } from '../../platform/config/config.ts';
import { DecryptionError, EncryptionService } from '../../platform/encryption/encryption.service.ts';
import { SessionCookieService } from '../session-cookie.service.ts';
import { FlowNotFoundError } from './oidc.errors.ts';

/** Only these paths get the cookie of a sign-in in progress. */
const PATH = '/admin/session/oidc';
const LIFE_SECONDS = 600;
const CONTEXT = 'oidc-flow';

/** What a sign-in is for: to open a session in a window or in a pop-up. */
export type Purpose = 'page' | 'pop-up';

/** A sign-in in progress, known to the browser that began it, and readable on every instance. */
export interface Flow {
  readonly state: string;
  readonly nonce: string;
  /** The code verifier of PKCE (RFC 7636). */
  readonly verifier: string;
  readonly purpose: Purpose;
  /** The path of the console to show afterwards. */
  readonly from: string;
  /** The issuer that the browser was sent to. */
  readonly issuer: string;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
}

/** Keeps a sign-in in progress in one sealed cookie. */
@Injectable()
export class FlowService {
  readonly #cookieName: string;

  constructor(
    config: Config,
    private readonly cookie: SessionCookieService,
    private readonly encryption: EncryptionService,
    private readonly clock: Clock,
  ) {
    this.#cookieName = `latchkey_oidc_${String(config.adminPort ?? config.port)}`;
  }

  /** @param from the path of the console to show afterwards */
  begin(issuer: string, purpose: Purpose, from: string): Flow {
    return {
      state: randomState(),
      nonce: randomNonce(),
      verifier: randomPKCECodeVerifier(),
      purpose,
      from,
      issuer,
      startedAt: this.clock.now(),
    };
  }

  /** The Set-Cookie header that keeps a sign-in. */
  cookieOf(flow: Flow): string {
    const sealed = this.encryption.encrypt(Buffer.from(JSON.stringify(flow)), CONTEXT).toString('base64url');
    return this.cookie.laxHeader(this.#cookieName, sealed, PATH, LIFE_SECONDS);
  }

  /**
   * The sign-in that the browser began.
   *
   * @param issuer the present one
   * @throws FlowNotFoundError
   */
  resume(request: FastifyRequest, issuer: string): Flow {
    const sealed = this.cookie.valueOf(request, this.#cookieName);
    if (sealed === undefined || sealed === '') throw new FlowNotFoundError();
    let flow: Flow;
    try {
      flow = JSON.parse(this.encryption.decrypt(Buffer.from(sealed, 'base64url'), CONTEXT).toString()) as Flow;
    } catch (error) {
      if (error instanceof DecryptionError) throw new FlowNotFoundError();
      throw error;
    }
    const isOver = this.clock.now() - flow.startedAt > LIFE_SECONDS * 1000;
    if (isOver || flow.issuer !== issuer) throw new FlowNotFoundError();
    return flow;
  }

  /** The Set-Cookie header that deletes the cookie. */
  get ended(): string {
    return this.cookie.laxHeader(this.#cookieName, '', PATH, 0);
  }
}
