import { Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import type { EntityManager } from 'typeorm';
import { AuditService } from '../../audit/audit.service.ts';
import { Clock } from '../../platform/common/clock.ts';
import { UnavailableError } from '../../platform/common/errors.ts';
import { type Actor, SYSTEM } from '../../platform/common/principal.ts';
import { ChangeFeed } from '../../platform/database/change-feed.service.ts';
import { HandoverService } from '../handover/handover.service.ts';
import type { ChannelUser } from '../model/channel-user.entity.ts';
import { ChannelUserNotFoundError } from '../model/channel-user.errors.ts';
import { changeAccount } from '../model/channel-user-change.ts';
import { Credential } from '../model/credential.entity.ts';
import { EXPIRED_UNUSED, recordCredential, retireCredentials, withdrawCredential } from '../model/rotation.ts';
import {
  CredentialNotFoundError,
  NotPendingError,
  OwnRotationPendingError,
  RotationPendingError,
} from './credential.errors.ts';
import { startedByOf, StarterNames } from './starter-names.service.ts';

/** What a new credential means for a pending one: it replaces it, or its rotation does not wait for a first use. */
interface NextRotation {
  readonly replaces: string | undefined;
  readonly after: 'first-use' | 'now';
}

/**
 * Throws unless a channel user may change its own credentials. Runs in the transaction that has locked the account.
 *
 * @param credentials all of the account
 */
export type Permit = (channelUser: ChannelUser, credentials: readonly Credential[]) => void;

/**
 * Rotations that wait for the first use of the new password. First use, withdrawal and replacement lock the account's
 * row, so that exactly one of them happens.
 */
@Injectable()
export class RotationService {
  /** First uses that are being written, by credential. Simultaneous sign-ins on this instance share one transaction. */
  readonly #activations = new Map<string, Promise<boolean>>();

  constructor(
    readonly audit: AuditService,
    readonly feed: ChangeFeed,
    private readonly handovers: HandoverService,
    private readonly names: StarterNames,
    private readonly clock: Clock,
  ) {}

  /**
   * Makes a pending credential active, and lets the others expire as its rotation says. Must be called before a token of
   * it reaches the client.
   *
   * @param request the sign-in that obtains the first token
   * @returns false when the credential or its account may no longer have tokens, so that the sign-in must be judged again
   * @throws UnavailableError when the first use cannot be written
   */
  activate(channelUserId: string, id: string, request: FastifyRequest): Promise<boolean> {
    const known = this.#activations.get(id);
    if (known) return known;
    const actor = { ...SYSTEM, address: request.clientAddress ?? null, requestId: request.id };
    const activation = this.#activate(channelUserId, id, actor).finally(() => this.#activations.delete(id));
    this.#activations.set(id, activation);
    return activation;
  }

  /**
   * Ends a pending credential. The others go on.
   *
   * @throws ChannelUserNotFoundError, CredentialNotFoundError, NotPendingError, and what `permit` throws
   */
  withdraw(channelUserId: string, id: string, actor: Actor, permit?: Permit): Promise<Credential> {
    return changeAccount(this, channelUserId, async (manager, channelUser) => {
      const all = await manager.findBy(Credential, { channelUserId });
      const credential = all.find((each) => each.id === id);
      if (!credential) throw new CredentialNotFoundError();
      const now = this.clock.now();
      const status = credential.statusAt(now);
      if (status !== 'pending') throw new NotPendingError(status);
      permit?.(channelUser, all);
      await this.#withdraw(manager, channelUser, credential, { now, actor });
      return manager.findOneByOrFail(Credential, { id });
    });
  }

  /**
   * Withdraws the pending credential that a new one takes the place of, in the transaction that creates the new one.
   *
   * @param all the account's credentials
   * @returns those that stay as they are
   * @throws RotationPendingError, OwnRotationPendingError, CredentialNotFoundError, NotPendingError
   */
  async makeWay(
    manager: EntityManager,
    channelUser: ChannelUser,
    all: readonly Credential[],
    { replaces, after }: NextRotation,
    actor: Actor,
  ): Promise<readonly Credential[]> {
    const now = this.clock.now();
    if (replaces !== undefined) {
      const status = all.find(({ id }) => id === replaces)?.statusAt(now);
      if (status === undefined) throw new CredentialNotFoundError();
      if (status !== 'pending') throw new NotPendingError(status);
    }
    const waiting = all.find(({ pending, revokedAt }) => pending && revokedAt === null);
    if (!waiting) return all;
    if (waiting.isExpiredAt(now)) {
      const bySystem = { ...SYSTEM, requestId: actor.requestId };
      await this.#withdraw(manager, channelUser, waiting, { now, actor: bySystem, reason: EXPIRED_UNUSED });
    } else if (replaces === undefined && after === 'first-use') {
      if (actor.type === 'channel-user') throw new OwnRotationPendingError(waiting);
      const names = await this.names.of(manager, [waiting.begunById]);
      throw new RotationPendingError(waiting, startedByOf(waiting, names));
    } else {
      await this.#withdraw(manager, channelUser, waiting, { now, actor });
    }
    return all.filter((credential) => credential !== waiting);
  }

  async #activate(channelUserId: string, id: string, actor: Actor): Promise<boolean> {
    try {
      return await changeAccount(this, channelUserId, async (manager, channelUser) => {
        const now = this.clock.now();
        const all = await manager.findBy(Credential, { channelUserId });
        const used = all.find((credential) => credential.id === id);
        const status = used?.statusAt(now);
        if (!used || channelUser.statusAt(now) !== 'active') return false;
        // Another instance was first.
        if (status === 'active') return true;
        if (status !== 'pending') return false;
        await this.#recordFirstUse(manager, channelUser, used, now, actor);
        const live = all.filter((credential) => credential.statusAt(now) === 'active');
        const at = new Date(now + (used.retireSeconds ?? 0) * 1000);
        await retireCredentials(this.audit, manager, channelUser, { live, next: used }, { at, actor });
        return true;
      });
    } catch (error) {
      if (error instanceof ChannelUserNotFoundError) return false;
      throw error instanceof UnavailableError ? error : new UnavailableError(error);
    }
  }

  async #recordFirstUse(
    manager: EntityManager,
    channelUser: ChannelUser,
    { id, label }: Credential,
    now: number,
    actor: Actor,
  ): Promise<void> {
    await manager.update(Credential, { id }, { pending: false, activatedAt: new Date(now) });
    recordCredential(this.audit, manager, 'credential.activated', channelUser, actor, {
      changes: { credentialId: [id, id], label: [label, label], status: ['pending', 'active'] },
    });
  }

  /** Withdraws a credential, and revokes its link if that has not been opened. */
  async #withdraw(
    manager: EntityManager,
    channelUser: ChannelUser,
    credential: Credential,
    { now, actor, reason }: { now: number; actor: Actor; reason?: string },
  ): Promise<void> {
    await this.handovers.revokeFor(manager, { channelUser, credential }, actor);
    await withdrawCredential(this.audit, manager, channelUser, credential, { at: new Date(now), actor, reason });
  }
}
