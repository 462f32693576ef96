import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { LessThan, Repository } from 'typeorm';
import { AuditService } from '../../audit/audit.service.ts';
import { Clock } from '../../platform/common/clock.ts';
import { type Actor, SYSTEM } from '../../platform/common/principal.ts';
import { Config } from '../../platform/config/config.ts';
import { EncryptionService } from '../../platform/encryption/encryption.service.ts';
import { ThrottleService } from '../../rate-limit/throttle.service.ts';
import type { RevealedDto } from './handover.dto.ts';
import { Handover } from './handover.entity.ts';
import { HandoverGoneError, TooManyRevealsError } from './handover.errors.ts';
import { hashOf, lockHandover, recordHandover, sealContext } from './handover-row.ts';

/** The request that reveals a password. */
interface Caller {
  readonly requestId: string;
  readonly address: string | undefined;
}

/** Audited attempts per ended link. Further ones leave no event, so that nobody can fill the audit trail. */
const RECORDED_REFUSALS = 10;

/** Shows the password of a link once, and wipes it. */
@Injectable()
export class HandoverRevealService {
  constructor(
    @InjectRepository(Handover) private readonly handovers: Repository<Handover>,
    private readonly encryption: EncryptionService,
    private readonly audit: AuditService,
    private readonly throttle: ThrottleService,
    private readonly config: Config,
    private readonly clock: Clock,
  ) {}

  /**
   * Reveals a password once and wipes it. Failures are throttled by address, but a working link is never refused, since
   * its secret cannot be guessed.
   *
   * @param secret the text after the # of the link
   * @throws HandoverGoneError, the same for any broken link; TooManyRevealsError
   */
  async reveal(secret: string, caller: Caller): Promise<RevealedDto> {
    const where = { secretHash: hashOf(secret) };
    const known = await this.handovers.findOne({ where, relations: { credential: true } });
    // Takes no lock for an ended link, which somebody may try again and again.
    const isWaiting = known?.statusAt(this.clock.now()) === 'waiting';
    const revealed = isWaiting ? await this.#reveal(known, caller) : undefined;
    if (revealed) return revealed;
    const { handoverFailures } = this.throttle;
    const { retryAfterMs } = await handoverFailures.stateOf(caller.address, '');
    if (retryAfterMs > 0) {
      handoverFailures.recordRefusal();
      throw new TooManyRevealsError(Math.ceil(retryAfterMs / 1000));
    }
    const after = await handoverFailures.fail(caller.address, '');
    if (known && known.refusals < RECORDED_REFUSALS) await this.#recordRefusal(known.id, caller);
    throw after.isLimited ? new TooManyRevealsError(Math.ceil(after.retryAfterMs / 1000)) : new HandoverGoneError();
  }

  /** @returns undefined when the link has stopped working in the meantime */
  #reveal({ id, channelUserId }: Handover, caller: Caller): Promise<RevealedDto | undefined> {
    return this.audit.transaction(async (manager) => {
      const handover = await lockHandover(manager, { id, channelUserId });
      const now = this.clock.now();
      const { channelUser, credential, sealedPassword } = handover ?? {};
      if (!channelUser || !credential || !sealedPassword || handover?.statusAt(now) !== 'waiting') return undefined;
      const password = this.encryption.decrypt(sealedPassword, sealContext(id)).toString();
      await manager.update(
        Handover,
        { id },
        { sealedPassword: null, revealedAt: new Date(now), revealedAddress: caller.address ?? null },
      );
      recordHandover(this.audit, manager, 'handover.revealed', channelUser, byAnybody(caller), {
        handoverId: [id, id],
        credentialId: [credential.id, credential.id],
        status: ['waiting', 'revealed'],
      });
      return {
        username: channelUser.username,
        password,
        displayName: channelUser.displayName,
        tokenEndpoint: `${this.config.publicUrl}/generateToken`,
        fingerprint: credential.fingerprint,
      };
    });
  }

  /**
   * Audits an attempt to use an ended link, which may come from someone else than the person who revealed it. At most
   * `RECORDED_REFUSALS` attempts are audited.
   */
  async #recordRefusal(id: string, caller: Caller): Promise<void> {
    await this.audit.transaction(async (manager) => {
      const { affected } = await manager.update(
        Handover,
        { id, refusals: LessThan(RECORDED_REFUSALS) },
        { refusals: () => 'refusals + 1' },
      );
      if (affected !== 1) return;
      const handover = await manager.findOne(Handover, {
        where: { id },
        relations: { channelUser: true, credential: true },
      });
      if (!handover?.channelUser) return;
      const status = handover.statusAt(this.clock.now());
      recordHandover(this.audit, manager, 'handover.refused', handover.channelUser, byAnybody(caller), {
        handoverId: [id, id],
        credentialId: [handover.credentialId, handover.credentialId],
        status: [status, status],
      });
    });
  }
}

/** The actor of a revealed link: anyone can hold it, so only the address is recorded. */
function byAnybody({ requestId, address }: Caller): Actor {
  return { ...SYSTEM, address: address ?? null, requestId };
}
