import { Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { AuditService } from '../../audit/audit.service.ts';
import { Clock } from '../../platform/common/clock.ts';
import { SYSTEM } from '../../platform/common/principal.ts';
import { Scheduler } from '../../platform/common/scheduler.ts';
import { NIL_UUID } from '../../platform/common/uuid.ts';
import { ChangeFeed } from '../../platform/database/change-feed.service.ts';
import { hasEndedUnopened } from '../handover/handover-row.ts';
import { ChannelUserNotFoundError } from '../model/channel-user.errors.ts';
import { changeAccount } from '../model/channel-user-change.ts';
import { PENDING_DAYS } from '../model/credential.entity.ts';
import { EXPIRED_UNUSED, withdrawCredential } from '../model/rotation.ts';

const END_MS = 60_000;
/** Rotations that one statement looks for. */
const FOUND_AT_ONCE = 100;
/** Failures after which a run gives up, so that one account does not stop the others and an outage does not fill the log. */
const MAX_FAILURES = 3;

/** Why Latchkey withdraws a credential. Staff read it in the audit trail. */
const REASONS = {
  expired: EXPIRED_UNUSED,
  unopened: 'The link ended before anybody opened it.',
  unused: `The new password was not used within ${String(PENDING_DAYS)} days.`,
} as const;

interface Due {
  readonly id: string;
  readonly channelUserId: string;
  readonly label: string;
  readonly reason: keyof typeof REASONS;
}

/**
 * Pending credentials that nobody will complete, at the time $1. One that a partner may hold stays while it is the only
 * live one of its account: withdrawing it would leave the partner without any.
 */
const DUE = `
  SELECT * FROM (
    SELECT id, channel_user_id AS "channelUserId", label, CASE
      WHEN expires_at <= $1::timestamptz THEN 'expired'
      WHEN ${hasEndedUnopened('credential.id')} THEN 'unopened'
      WHEN created_at <= $1::timestamptz - interval '${String(PENDING_DAYS)} days' AND EXISTS (
        SELECT FROM credential AS other WHERE other.channel_user_id = credential.channel_user_id
          AND other.id <> credential.id AND other.revoked_at IS NULL
          AND (other.expires_at IS NULL OR other.expires_at > $1::timestamptz)) THEN 'unused'
      END AS reason
    FROM credential WHERE pending AND revoked_at IS NULL
  ) AS waiting WHERE reason IS NOT NULL`;
const NEXT_DUE = `${DUE} AND id > $2 ORDER BY id LIMIT ${String(FOUND_AT_ONCE)}`;
const STILL_DUE = `${DUE} AND id = $2`;

/**
 * Withdraws pending credentials that nobody completes. Every instance may do so at once, since each withdrawal looks
 * again under the lock of its account.
 */
@Injectable()
export class RotationEndService implements OnApplicationBootstrap {
  readonly #logger = new Logger(RotationEndService.name);

  constructor(
    readonly audit: AuditService,
    readonly feed: ChangeFeed,
    private readonly dataSource: DataSource,
    private readonly clock: Clock,
    private readonly scheduler: Scheduler,
  ) {}

  onApplicationBootstrap(): void {
    this.scheduler.schedule({
      name: 'Withdrawing new passwords that nobody used',
      everyMs: END_MS,
      run: () => this.withdrawUnused(),
    });
  }

  /** Withdraws what is due. Throws when too many withdrawals fail. */
  async withdrawUnused(): Promise<void> {
    let failures = 0;
    for (let last: string | undefined = NIL_UUID; last !== undefined;) {
      const found: Due[] = await this.dataSource.query(NEXT_DUE, [new Date(this.clock.now()), last]);
      for (const due of found) {
        try {
          await this.#withdraw(due);
        } catch (error) {
          // It was deleted in the meantime, with its credentials.
          if (error instanceof ChannelUserNotFoundError) continue;
          if (++failures === MAX_FAILURES) throw error;
          this.#logger.warn(`Withdrawing the credential ${due.id} failed, trying again: ${(error as Error).message}`);
        }
      }
      last = found.length === FOUND_AT_ONCE ? found.at(-1)?.id : undefined;
    }
  }

  async #withdraw({ id, channelUserId }: Due): Promise<void> {
    await changeAccount(this, channelUserId, async (manager, channelUser) => {
      const at = new Date(this.clock.now());
      const [due] = await manager.query<Due[]>(STILL_DUE, [at, id]);
      if (!due) return;
      const reason = REASONS[due.reason];
      await withdrawCredential(this.audit, manager, channelUser, due, { at, actor: SYSTEM, reason });
    });
  }
}
