import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { AuditService, type Changes } from '../../audit/audit.service.ts';
import { Clock } from '../../platform/common/clock.ts';
import { type Actor, SYSTEM } from '../../platform/common/principal.ts';
import { ChangeFeed } from '../../platform/database/change-feed.service.ts';
import { HandoverService } from '../handover/handover.service.ts';
import type { ChannelUser } from '../model/channel-user.entity.ts';
import { ChannelUserNotFoundError } from '../model/channel-user.errors.ts';
import { changeAccount } from '../model/channel-user-change.ts';
import { ONE_DAY } from '../model/channel-user.rules.ts';
import { Credential, type CredentialStatus } from '../model/credential.entity.ts';
import { descendantsOf } from '../model/descendants.ts';
import { recordCredential } from '../model/rotation.ts';
import { CredentialNotFoundError } from './credential.errors.ts';
import type { Permit } from './rotation.service.ts';

/** Days after its end in which a password still proves that whoever reports it as leaked has it. */
const PROOF_DAYS = 30;

/** A transaction that ends credentials of an account, whose row it has locked. */
interface Change {
  readonly manager: EntityManager;
  readonly channelUser: ChannelUser;
  readonly now: number;
  readonly actor: Actor;
}

interface RevokeOptions {
  /** Whether the credentials that were created with it end too, also if it has ended before. */
  readonly includeDescendants?: boolean;
  readonly permit?: Permit;
}

/** Whoever has shown a leaked password. */
export interface Reporter {
  readonly address: string | undefined;
  readonly requestId: string;
}

const hasEnded = ({ revokedAt }: Credential): boolean => revokedAt !== null;

/** The status that ends a credential. One that was never used is withdrawn. */
const endOf = ({ pending }: Credential): 'withdrawn' | 'revoked' => (pending ? 'withdrawn' : 'revoked');

/** Whether a credential is live, or ended at most so many days ago. */
function endedWithin({ revokedAt, expiresAt }: Credential, days: number, now: number): boolean {
  const endedAt = Math.min(revokedAt?.getTime() ?? Infinity, expiresAt?.getTime() ?? Infinity);
  return endedAt > now - days * ONE_DAY * 1000;
}

/**
 * Ends credentials before their time, with their tokens, and those that were created with their passwords. Locks the
 * account's row, as first uses and rotations do.
 */
@Injectable()
export class CredentialEndService implements OnApplicationShutdown {
  /** Reports that are being written, by credential. Simultaneous ones on this instance share one transaction. */
  readonly #reports = new Map<string, Promise<void>>();

  constructor(
    readonly audit: AuditService,
    readonly feed: ChangeFeed,
    private readonly handovers: HandoverService,
    private readonly clock: Clock,
  ) {}

  /** A report may be answered before it is written. */
  async onApplicationShutdown(): Promise<void> {
    await Promise.allSettled(this.#reports.values());
  }

  /**
   * Ends a credential and the tokens that it obtained, now. Revoking twice changes nothing.
   *
   * @throws ChannelUserNotFoundError, CredentialNotFoundError, and what `permit` throws
   */
  async revoke(
    channelUserId: string,
    id: string,
    actor: Actor,
    { includeDescendants = false, permit }: RevokeOptions = {},
  ): Promise<void> {
    await changeAccount(this, channelUserId, async (manager, channelUser) => {
      const change = { manager, channelUser, now: this.clock.now(), actor };
      const all = await manager.findBy(Credential, { channelUserId });
      const credential = all.find((each) => each.id === id);
      if (!credential) throw new CredentialNotFoundError();
      const descendants = includeDescendants ? descendantsOf(all, id).filter((each) => !hasEnded(each)) : [];
      if (!hasEnded(credential)) {
        permit?.(channelUser, all);
        await this.#end(change, credential, 'revoked');
        this.#record(change, 'credential.revoked', credential, 'revoked');
      }
      await this.#endDescendants(change, descendants, id);
      await this.#reinstate(change, [credential, ...descendants]);
    });
  }

  /**
   * Ends a password that was reported as leaked and everything that was created with it, and tells staff, whatever the
   * state of the account. Does so once for each credential, and only while its password is proof.
   */
  report(channelUserId: string, id: string, reporter: Reporter): Promise<void> {
    const known = this.#reports.get(id);
    if (known) return known;
    const report = this.#report(channelUserId, id, reporter).finally(() => this.#reports.delete(id));
    this.#reports.set(id, report);
    return report;
  }

  async #report(channelUserId: string, id: string, { address, requestId }: Reporter): Promise<void> {
    // Anybody may have a leaked password, so the address is all that is known of them.
    const actor = { ...SYSTEM, address: address ?? null, requestId };
    try {
      await changeAccount(this, channelUserId, async (manager, channelUser) => {
        const change = { manager, channelUser, now: this.clock.now(), actor };
        const all = await manager.findBy(Credential, { channelUserId });
        const credential = all.find((each) => each.id === id);
        if (credential?.reportedLeakedAt !== null) return;
        if (endedWithin(credential, PROOF_DAYS, change.now)) await this.#endReported(change, all, credential);
      });
    } catch (error) {
      // The account was deleted in the meantime, with its credentials.
      if (!(error instanceof ChannelUserNotFoundError)) throw error;
    }
  }

  async #endReported(change: Change, all: readonly Credential[], credential: Credential): Promise<void> {
    const { manager, now } = change;
    const { id } = credential;
    const descendants = descendantsOf(all, id).filter((each) => !hasEnded(each));
    const end = hasEnded(credential) ? credential.statusAt(now) : endOf(credential);
    if (!hasEnded(credential)) await this.#end(change, credential, endOf(credential));
    await manager.update(Credential, { id }, { reportedLeakedAt: new Date(now) });
    this.#record(change, 'credential.reported-leaked', credential, end, {
      descendants: [null, descendants.map((each) => each.id)],
    });
    await this.#endDescendants(change, descendants, id);
    await this.#reinstate(change, [credential, ...descendants]);
  }

  async #endDescendants(change: Change, descendants: readonly Credential[], id: string): Promise<void> {
    for (const each of descendants) {
      const end = endOf(each);
      await this.#end(change, each, end);
      this.#record(change, `credential.${end}`, each, end, { createdWith: [id, id] });
    }
  }

  /** Ends a credential, and the links that would show its password. */
  async #end(
    { manager, channelUser, now, actor }: Change,
    credential: Credential,
    end: 'withdrawn' | 'revoked',
  ): Promise<void> {
    const at = new Date(now);
    await this.handovers.revokeFor(manager, { channelUser, credential }, actor);
    const ended = { revokedAt: at, keyedHash: null, ...(end === 'withdrawn' && { withdrawnAt: at }) };
    await manager.update(Credential, { id: credential.id }, ended);
  }

  /** If all remaining live credentials are superseded, makes the newest the partner's current one again. */
  async #reinstate({ manager, channelUser, now }: Change, ended: readonly Credential[]): Promise<void> {
    if (ended.every(({ superseded }) => superseded)) return;
    const where = { channelUserId: channelUser.id };
    const all = await manager.find(Credential, { where, order: { createdAt: 'DESC', id: 'DESC' } });
    const live = all.filter((credential) => credential.statusAt(now) === 'active');
    const [newest] = live;
    if (!newest || live.some(({ superseded }) => !superseded)) return;
    await manager.update(Credential, { id: newest.id }, { superseded: false });
  }

  /** @param end the credential's status after the change */
  #record(
    { manager, channelUser, now, actor }: Change,
    action: string,
    credential: Credential,
    end: CredentialStatus,
    more: Changes = {},
  ): void {
    const { id, label } = credential;
    recordCredential(this.audit, manager, action, channelUser, actor, {
      changes: { credentialId: [id, id], label: [label, label], status: [credential.statusAt(now), end], ...more },
    });
  }
}
