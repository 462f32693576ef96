import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { IsNull, Repository } from 'typeorm';
import { ChannelUserService } from '../channel-user/channel-user.service.ts';
import { Directory } from '../channel-user/directory.service.ts';
import { Clock } from '../common/clock.ts';
import type { Actor } from '../common/request-context.ts';
import { StaffService } from '../staff/staff.service.ts';
import { Quickstart } from './quickstart.entity.ts';

/** What the first start of the quickstart shows, this once. */
export interface FirstStart {
  readonly admin: { readonly email: string; readonly password: string };
  readonly demo: { readonly username: string; readonly password: string };
}

const SYSTEM: Actor = { type: 'system', id: null, name: 'system', address: null, requestId: null };
const ADMIN_EMAIL = 'admin@latchkey.local';
const DEMO_USERNAME = 'demo-partner';

/** Makes the embedded database usable at once: somebody who may provision, and a partner to try. */
@Injectable()
export class QuickstartService {
  constructor(
    @InjectRepository(Quickstart) private readonly quickstart: Repository<Quickstart>,
    private readonly staff: StaffService,
    private readonly channelUsers: ChannelUserService,
    private readonly directory: Directory,
    private readonly clock: Clock,
  ) {}

  /**
   * Provisions on the very first start, and does nothing ever after. A first start that ended before it could say so,
   * such as one whose port was taken, leaves accounts whose passwords nobody saw; it is made good by new ones.
   *
   * @returns the secrets to show, then to be told by {@link shown}; `undefined` when it is not the first start
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

  /** Somebody has seen the secrets of {@link provisionOnce}. */
  async shown(): Promise<void> {
    await this.quickstart.update({ id: true }, { provisionedAt: new Date(this.clock.now()) });
  }

  async #admin() {
    const known = (await this.staff.list()).some(({ email }) => email === ADMIN_EMAIL);
    return known
      ? this.staff.resetPassword({ email: ADMIN_EMAIL }, SYSTEM)
      : this.staff.create({ email: ADMIN_EMAIL, name: 'First admin', role: 'admin' }, SYSTEM);
  }

  async #demoPartner() {
    const leftover = await this.directory.readByUsername(DEMO_USERNAME);
    if (leftover) await this.channelUsers.delete(leftover.id, SYSTEM);
    const { channelUser, credential } = await this.channelUsers.create(
      {
        username: DEMO_USERNAME,
        displayName: 'Demo partner',
        scopes: ['property:read', 'calendar:write'],
        notes: 'Made by the first start. Delete it when you have tried it.',
      },
      SYSTEM,
    );
    if (credential.password === undefined) throw new Error('The password of the demo partner was not shown');
    return { username: channelUser.username, password: credential.password };
  }
}
