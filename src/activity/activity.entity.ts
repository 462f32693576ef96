import { Check, Column, Entity, Index, PrimaryColumn } from 'typeorm';

export const OUTCOMES = ['token', 'refused'] as const;
export type Outcome = (typeof OUTCOMES)[number];

/**
 * One sign-in attempt of a channel user, or the refusals for too many requests of one minute. The table is partitioned
 * by day (see the migration), so that pruning drops whole partitions; it outlives the channel user.
 */
@Entity('activity')
@Check('ck_activity_outcome', `outcome IN ('token', 'refused')`)
@Index('ix_activity_channel_user', { synchronize: false })
@Index('uq_activity_minute', ['day', 'channelUserId', 'minute', 'reason'], {
  unique: true,
  where: 'minute IS NOT NULL',
})
export class Activity {
  /** The UTC day of `at`. */
  @PrimaryColumn('date', { primaryKeyConstraintName: 'pk_activity' })
  day!: string;

  /** Version 7: in the order of time. */
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

  /** The true one. */
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

  /** For a row that counts: the minute it counts in. */
  @Column({ type: 'timestamptz', precision: 3, nullable: true })
  minute!: Date | null;
}
