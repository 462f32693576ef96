import { Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { LessThan, Repository } from 'typeorm';
import { Clock } from '../platform/common/clock.ts';
import { Scheduler } from '../platform/common/scheduler.ts';
import { Config } from '../platform/config/config.ts';
import type { StaffFailureDto } from './staff.dto.ts';
import { StaffFailure, type StaffFailureReason } from './staff-failure.entity.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Rows that the list shows at most. */
const SHOWN = 200;

/** Inserts nothing for an unknown e-mail, which may be a mistyped password. */
const RECORD = `
  INSERT INTO staff_sign_in_failure AS known (staff_id, hour, reason, count, last_at, last_address)
  SELECT id, date_trunc('hour', $2::timestamptz, 'UTC'), $3, 1, $2, $4 FROM staff WHERE email_key = $1
  ON CONFLICT (staff_id, hour, reason) DO UPDATE SET
    count = known.count + 1, last_at = EXCLUDED.last_at, last_address = EXCLUDED.last_address`;

/** Counts failed sign-ins of staff. They are not audited, since they change nothing. */
@Injectable()
export class StaffFailureService implements OnApplicationBootstrap {
  readonly #logger = new Logger(StaffFailureService.name);

  constructor(
    @InjectRepository(StaffFailure) private readonly failures: Repository<StaffFailure>,
    private readonly config: Config,
    private readonly clock: Clock,
    private readonly scheduler: Scheduler,
  ) {}

  onApplicationBootstrap(): void {
    this.scheduler.schedule({
      name: 'Deleting old failed staff sign-ins',
      everyMs: HOUR_MS,
      run: () => this.failures.delete({ hour: LessThan(this.#oldest()) }),
    });
  }

  /** Records a failed sign-in in the background, so that known and unknown e-mails take the same time. */
  record(emailKey: string, reason: StaffFailureReason, address: string | undefined): void {
    const parameters = [emailKey, new Date(this.clock.now()), reason, address ?? null];
    this.failures.query(RECORD, parameters).catch((error: unknown) => {
      this.#logger.warn(`Recording a failed staff sign-in failed, leaving it out: ${(error as Error).message}`);
    });
  }

  /** The newest rows, at most `SHOWN`, within the retention period of activity. */
  async list(): Promise<StaffFailureDto[]> {
    const rows = await this.failures
      .createQueryBuilder('failure')
      .innerJoinAndSelect('failure.staff', 'staff')
      .where('failure.hour >= :oldest', { oldest: this.#oldest() })
      .orderBy('failure.hour', 'DESC')
      .addOrderBy('failure.lastAt', 'DESC')
      .addOrderBy('failure.reason', 'ASC')
      .limit(SHOWN)
      .getMany();
    return rows.flatMap(({ staff, hour, reason, count, lastAt, lastAddress }) =>
      staff
        ? [{ staff: { id: staff.id, name: staff.name, email: staff.email }, hour, reason, count, lastAt, lastAddress }]
        : [],
    );
  }

  #oldest(): Date {
    return new Date(this.clock.now() - this.config.activityRetentionDays * DAY_MS);
  }
}
