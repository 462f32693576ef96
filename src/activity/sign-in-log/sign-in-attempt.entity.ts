import { Check, Column, Entity, Index, PrimaryColumn } from 'typeorm';

export const OUTCOMES = ['token', 'refused'] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** The codes of a 429: to a sign-in, and to a change that a password has to prove. */
const TOO_MANY: ReadonlySet<string | null> = new Set(['too_many_requests', 'credential.too-many-attempts']);
/** Whether an attempt was answered 429. */
export const wasTooMany = (errorCode: string | null): boolean => TOO_MANY.has(errorCode);

/**
 * One sign-in attempt of a channel user, or a count of refusals for one reason in one minute. The table is partitioned
 * by day (see the migration), so that pruning drops whole partitions. Rows outlive their channel user.
 */
@Entity('activity')
@Check('ck_activity_outcome', `outcome IN ('token', 'refused')`)
@Index('ix_activity_channel_user', { synchronize: false })
@Index('ix_activity_refused', { synchronize: false })
@Index('ix_activity_request', { synchronize: false })
@Index('uq_activity_minute', ['day', 'channelUserId', 'minute', 'reason'], {
  unique: true,
  where: 'minute IS NOT NULL',
})
export class SignInAttempt {
  /** The UTC day of `at`. */
  @PrimaryColumn('date', { primaryKeyConstraintName: 'pk_activity' })
  day!: string;

  /** A UUID of version 7, so that ids sort by time. */
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'pk_activity' })
  id!: string;

  @Column('uuid', { name: 'channel_user_id' })
  channelUserId!: string;

  @Column({ type: 'timestamptz', precision: 3 })
  at!: Date;

  @Column('text', { nullable: true })
  address!: string | null;

  @Column('text')
  outcome!: Outcome;

  @Column('text', { name: 'error_code', nullable: true })
  errorCode!: string | null;

  /** The true reason of a refusal. Staff see it, and the channel user itself in words. */
  @Column('text', { nullable: true })
  reason!: string | null;

  @Column('uuid', { name: 'credential_id', nullable: true })
  credentialId!: string | null;

  @Column('text', { name: 'request_id' })
  requestId!: string;

  @Column('text', { name: 'user_agent', nullable: true })
  userAgent!: string | null;

  @Column('integer')
  count!: number;

  /** In a row that counts refusals: the minute that the count covers. */
  @Column({ type: 'timestamptz', precision: 3, nullable: true })
  minute!: Date | null;
}
