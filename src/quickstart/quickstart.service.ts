import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { IsNull, Repository } from 'typeorm';
import { ChannelUserService } from '../channel-user/channel-user.service.ts';
import { CredentialService } from '../channel-user/credential/credential.service.ts';
import { CredentialEndService } from '../channel-user/credential/credential-end.service.ts';
import { AccountCache } from '../channel-user/account/account-cache.service.ts';
import { Clock } from '../platform/common/clock.ts';
import { AppError } from '../platform/common/errors.ts';
import { SYSTEM } from '../platform/common/principal.ts';
import type { Demo, DemoCall } from './demo.ts';
import { GrantAdministrationService } from '../channel-user/grant/grant-administration.service.ts';
import { StaffService } from '../staff/staff.service.ts';
import { Quickstart } from './quickstart.entity.ts';

/** The secrets that the first start of the quickstart shows once. */
export interface FirstStart {
  readonly admin: { readonly email: string; readonly password: string };
  readonly demo: DemoPartner;
}

interface DemoPartner {
  readonly username: string;
  readonly password: string;
}

/** Calls that the demo partner can make, and the credentials that it gets a token with. */
export interface DemoCalls {
  readonly partner: DemoPartner;
  readonly calls: readonly DemoCall[];
}

const ADMIN_EMAIL = 'admin@latchkey.local';
const DEMO_USERNAME = 'demo-partner';
/** Label of the demo partner's password that a start has shown. */
const START_LABEL = 'start';

/** Makes the embedded database usable at once: creates a first admin and a demo partner. */
@Injectable()
export class QuickstartService {
  constructor(
    @InjectRepository(Quickstart) private readonly quickstart: Repository<Quickstart>,
    private readonly staff: StaffService,
    private readonly channelUsers: ChannelUserService,
    private readonly credentials: CredentialService,
    private readonly ends: CredentialEndService,
    private readonly accounts: AccountCache,
    private readonly grants: GrantAdministrationService,
    private readonly clock: Clock,
  ) {}

  /**
   * Creates the first admin and the demo partner, until a start has shown their passwords. A start that fails before
   * that, for example because its port is taken, leaves accounts with unknown passwords, which the next start replaces.
   *
   * @returns the secrets to show before calling {@link shown}; `undefined` after the first start
   */
  async provisionOnce(): Promise<FirstStart | undefined> {
    const row = await this.quickstart.findOneBy({ provisionedAt: IsNull() });
    if (!row) return undefined;
    const admin = await this.#admin();
    const demo = await this.#demoPartner();
    return {
      admin: { email: admin.email, password: admin.password },
      demo,
    };
  }

  /** Records that the secrets of {@link provisionOnce} have been shown. */
  async shown(): Promise<void> {
    await this.quickstart.update({ id: true }, { provisionedAt: new Date(this.clock.now()) });
  }

  /**
   * Gives the demo partner the scopes and grants of an application's demo, at every start. Later starts do not know its
   * password, so each creates one and revokes the one of the start before.
   *
   * @param known the demo partner, if this start has just created it
   * @returns undefined when the demo partner is deleted or not active, already has as many passwords as allowed, or has
   *   one that waits for its first use
   */
  async prepareDemo(demo: Demo, known: DemoPartner | undefined): Promise<DemoCalls | undefined> {
    const account = await this.accounts.readByUsername(DEMO_USERNAME);
    if (account?.statusAt(this.clock.now()) !== 'active') return undefined;
    const { id, username } = account;
    const password = known?.password ?? (await this.#passwordOfStart(id));
    if (password === undefined) return undefined;
    const { grants, calls } = await demo.prepare(SYSTEM);
    const scopes = [...new Set([...account.scopes, ...demo.scopes])];
    await this.channelUsers.update(id, { scopes }, () => true, SYSTEM);
    for (const grant of grants) await this.grants.give(id, grant, SYSTEM);
    return { partner: { username, password }, calls };
  }

  async #passwordOfStart(id: string): Promise<string | undefined> {
    const known = await this.credentials.list(id);
    // A new password would withdraw the rotation that somebody tries out.
    if (known.some(({ status }) => status === 'pending')) return undefined;
    for (const { id: credentialId, label, status } of known) {
      if (label === START_LABEL && status === 'active') await this.ends.revoke(id, credentialId, SYSTEM);
    }
    try {
      const request = { label: START_LABEL, retireOthersInSeconds: null };
      return (await this.credentials.create(id, request, SYSTEM)).credential.password;
    } catch (error) {
      if (error instanceof AppError && error.code === 'credential.too-many') return undefined;
      throw error;
    }
  }

  async #admin() {
    const known = (await this.staff.list()).some(({ email }) => email === ADMIN_EMAIL);
    return known
      ? this.staff.resetPassword({ email: ADMIN_EMAIL }, SYSTEM)
      : this.staff.create({ email: ADMIN_EMAIL, name: 'First admin', role: 'admin' }, SYSTEM);
  }

  async #demoPartner() {
    const leftover = await this.accounts.readByUsername(DEMO_USERNAME);
    if (leftover) await this.channelUsers.delete(leftover.id, SYSTEM);
    const { channelUser, credential } = await this.channelUsers.create(
      {
        username: DEMO_USERNAME,
        displayName: 'Demo partner',
        scopes: ['property:read', 'calendar:write'],
        notes: 'Created on the first start. Delete it after trying it out.',
      },
      SYSTEM,
    );
    if (credential.password === undefined) throw new Error('The demo partner has no password to show');
    return { username: channelUser.username, password: credential.password };
  }
}
