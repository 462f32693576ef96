import type { FastifyRequest } from 'fastify';
import { Resolver } from 'node:dns/promises';
import { availableParallelism } from 'node:os';
import { performance } from 'node:perf_hooks';
import { type AuditRecord, AuditService } from '../../src/audit/audit.service.ts';
import {
  type NewSignInAttempt,
  SignInRecorderService,
} from '../../src/activity/sign-in-log/sign-in-recorder.service.ts';
import { UsageService } from '../../src/activity/usage/usage.service.ts';
import { AuditChain } from '../../src/audit/chain/audit-chain.service.ts';
import { AuditProof } from '../../src/audit/audit-proof.service.ts';
import { type ChainReport, ChainVerification } from '../../src/audit/chain/chain-verification.service.ts';
import type { SigningKeyPurpose } from '../../src/auth/signing-key/signing-key.entity.ts';
import { type ActiveKey, SigningKeyService } from '../../src/auth/signing-key/signing-key.service.ts';
import { SignedTokenService } from '../../src/auth/access-token/signed-token.service.ts';
import { type CredentialUse, LastUseService } from '../../src/channel-user/credential/last-use.service.ts';
import { HandoverWipeService } from '../../src/channel-user/handover/handover-wipe.service.ts';
import { ImportLimits } from '../../src/channel-user/import/import-limits.ts';
import type { ImportOptions } from '../../src/channel-user/import/import-log.service.ts';
import { ImportService } from '../../src/channel-user/import/import.service.ts';
import { CLI } from '../../src/cli/cli-context.ts';
import { Clock } from '../../src/platform/common/clock.ts';
import { LimiterStore } from '../../src/rate-limit/limiter-store.service.ts';
import { MonotonicClock, type Wait } from '../../src/platform/common/monotonic-clock.ts';
import { SYSTEM } from '../../src/platform/common/principal.ts';
import { MigrationFolders } from '../../src/platform/database/migration-folders.ts';
import { ChangeFeed } from '../../src/platform/database/change-feed.service.ts';
import { ResponseDelayService } from '../../src/password/response-delay.service.ts';
import type { TestApp } from './app.ts';

/*
 * What tests reach inside of an application, because neither HTTP nor the command line shows it or can bring it about.
 */

/** Events that a transaction records at a time: one that locks the end of the trail for seconds would be ended. */
const EVENTS_AT_ONCE = 500;

/** The key that signs tokens, to forge tokens with. */
export const signingKeyOf = (app: TestApp, purpose: SigningKeyPurpose): Promise<ActiveKey> =>
  app.app.nest.get(SigningKeyService).current(purpose);

/** The queues of slow hashes, which a test fills or waits for. */
export const slowHashesOf = (app: TestApp): ResponseDelayService => app.app.nest.get(ResponseDelayService);

/** Lets the application expect slow hashes, as one does that starts on a database with imported passwords. */
export function expectSlowHashes(app: TestApp): void {
  slowHashesOf(app).partnerHashes.expect();
}

/**
 * Holds back every slow hash, on any number of cores, until the returned function is called.
 *
 * @param waiting further hashes that wait, so that a refusal's `Retry-After` is the longest whatever else happens
 */
export function holdSlowHashes(app: TestApp, of: 'partnerHashes' | 'staffHashes', waiting = 0): () => void {
  const held = Promise.withResolvers<undefined>();
  const { queue } = slowHashesOf(app)[of];
  for (let i = 0; i < availableParallelism() + waiting; i++) {
    void queue.run(
      `held ${String(i)}`,
      () => held.promise,
      () => false,
    );
  }
  return () => {
    held.resolve(undefined);
  };
}

/** Holds back every refusal of a sign-in until the returned function is called. */
export function holdRefusals(app: TestApp): () => void {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const clock = app.app.nest.get(MonotonicClock);
  const { waitFor } = clock;
  clock.waitFor = () => ({ over: promise, cancel: () => undefined });
  return () => {
    clock.waitFor = waitFor;
    resolve(undefined);
  };
}

/** Holds back the ends of all waits and time limits of sign-ins until the returned function is called. */
export function holdWaits(app: TestApp): () => void {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const clock = app.app.nest.get(MonotonicClock);
  const { now, waitFor, timeout } = clock;
  const heldAt = performance.now();
  const held = (): Wait => ({ over: promise, cancel: () => undefined });
  Object.assign(clock, { now: () => heldAt, waitFor: held, timeout: held });
  return () => {
    Object.assign(clock, { now, waitFor, timeout });
    resolve(undefined);
  };
}

/** Moves the clock of the limits that are counted in memory. */
export function passLimits(app: TestApp, ms: number): void {
  const store = app.app.nest.get(LimiterStore);
  const { now } = store;
  store.now = () => now() + ms;
}

/** The notifications of changes, which a test waits for. */
export const changeFeedOf = (app: TestApp): ChangeFeed => app.app.nest.get(ChangeFeed);

/** Lets an application trust its cache, whether or not it gets notifications, until the returned function is called. */
export function trustFeed(app: TestApp): () => void {
  const feed = changeFeedOf(app);
  Object.defineProperty(feed, 'trusted', { value: true, configurable: true });
  return () => {
    Reflect.deleteProperty(feed, 'trusted');
  };
}

/** Records the same event many times, as the system. */
export async function recordEvents(
  app: TestApp,
  count: number,
  event: Omit<AuditRecord, 'actor'>,
  atOnce = EVENTS_AT_ONCE,
): Promise<void> {
  const audit = app.app.nest.get(AuditService);
  for (let recorded = 0; recorded < count; recorded += atOnce) {
    await audit.transaction((manager) => {
      for (let i = recorded; i < Math.min(recorded + atOnce, count); i++) {
        audit.record(manager, { actor: SYSTEM, ...event });
      }
      return Promise.resolve();
    });
  }
}

/**
 * Verifies the audit trail as `audit verify` does, but without a process of its own.
 *
 * @param head a head that was kept, which the chain must pass through
 */
export const verifyTrail = (app: TestApp, head?: { sequence: number; mac: string }): Promise<ChainReport> =>
  app.app.nest.get(ChainVerification).verify(head && { sequence: head.sequence, mac: Buffer.from(head.mac, 'hex') });

/** Encrypts the passwords anew that wait to be handed over, at the moment of a request. */
export const reencryptHandovers = (app: TestApp): Promise<number> => app.app.nest.get(HandoverWipeService).reencrypt();

/** Delays every signature until the returned function is called. */
export function holdSigning(app: TestApp): () => void {
  const service = app.app.nest.get(SignedTokenService);
  const sign = service.sign.bind(service);
  const held = Promise.withResolvers<undefined>();
  service.sign = async (...token) => {
    const signed = await sign(...token);
    await held.promise;
    return signed;
  };
  return () => {
    service.sign = sign;
    held.resolve(undefined);
  };
}

/** Lets an instance freeze once while it holds the head of the trail: the chain reads the clock then. */
export function freezeWithHead(app: TestApp, ms: number): { hasFrozen: boolean; end: () => void } {
  const chain = app.app.nest.get(AuditChain);
  const clock = app.app.nest.get(Clock);
  const freeze = {
    hasFrozen: false,
    end: (): void => {
      Object.assign(chain, { clock });
    },
  };
  const freezing = {
    now: (): number => {
      freeze.hasFrozen = true;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
      return clock.now();
    },
  };
  Object.assign(chain, { clock: freezing });
  return freeze;
}

/** The trail as a module writes it. */
export const auditOf = (app: TestApp): AuditService => app.app.nest.get(AuditService);

/** Lets every reading of the migrations fail until the returned function is called. */
export function failToReadMigrations(app: TestApp, error: Error): () => void {
  const folders = app.app.nest.get(MigrationFolders);
  const all = folders.all.bind(folders);
  folders.all = () => Promise.reject(error);
  return () => {
    folders.all = all;
  };
}

/** The limits of imports, which a test may lower. */
export const importLimitsOf = (app: TestApp): ImportLimits => app.app.nest.get(ImportLimits);

/** Imports what a stream yields, piece by piece as it yields it. */
export const importFrom = (
  app: TestApp,
  source: AsyncIterable<Uint8Array>,
  options: Omit<ImportOptions, 'format'>,
): ReturnType<ImportService['run']> => app.app.nest.get(ImportService).run(source, { format: 'csv', ...options }, CLI);

/** Records uses of credentials, as sign-ins do, in one turn of the event loop. */
export function recordUses(app: TestApp, uses: readonly CredentialUse[]): void {
  for (const use of uses) app.app.nest.get(LastUseService).record(use);
}

/** Counts a call of each of these credentials, as the guard does, in one turn of the event loop. */
export function recordCalls(app: TestApp, credentialIds: readonly string[]): void {
  for (const id of credentialIds) app.app.nest.get(UsageService).recordCall(id, Date.now());
}

/** Records an attempt to sign in, as a sign-in does. */
export function recordAttempt(app: TestApp, request: Partial<FastifyRequest>, attempt: NewSignInAttempt): void {
  app.app.nest.get(SignInRecorderService).record(request as FastifyRequest, attempt);
}

/** What `audit export` writes, in this process, whose turns a test counts. */
export const proofLinesOf = (app: TestApp): AsyncIterable<string> => app.app.nest.get(AuditProof).lines();

/** Lets an application ask these DNS servers about the names of webhooks. */
export function setNameServers(app: TestApp, ...addresses: string[]): void {
  app.app.nest.get(Resolver).setServers(addresses);
}
