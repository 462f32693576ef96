import { Check, Column, Entity, Index, JoinColumn, ManyToOne, PrimaryGeneratedColumn } from 'typeorm';
import { Notice } from './notice.entity.ts';

/** `failed`: the last attempt did, there will be another; `given-up`: there will be none unless somebody asks. */
export const DELIVERY_STATES = ['pending', 'failed', 'delivered', 'given-up'] as const;
export type DeliveryState = (typeof DELIVERY_STATES)[number];

/** Why an attempt failed. */
export const DELIVERY_ERRORS = [
  'name_not_resolved',
  'address_not_allowed',
  'connection_failed',
  'tls_failed',
  'timed_out',
  'invalid_response',
  'redirect',
  'status',
  'not_signed',
  'gone',
] as const;
export type DeliveryError = (typeof DELIVERY_ERRORS)[number];

/** A notice on its way to a webhook. */
@Entity('notice_delivery')
@Index('uq_notice_delivery_webhook', ['noticeId', 'webhookId'], { unique: true })
@Index('ix_notice_delivery_webhook', ['webhookId', 'noticeId'])
@Index('ix_notice_delivery_due', ['webhookId', 'nextAttemptAt', 'id'], { where: 'next_attempt_at IS NOT NULL' })
@Index('ix_notice_delivery_state', ['state', 'noticeId'], { where: `state <> 'delivered'` })
@Check('ck_notice_delivery_state', `state IN ('pending', 'failed', 'delivered', 'given-up')`)
@Check('ck_notice_delivery_due', `(state IN ('pending', 'failed')) = (next_attempt_at IS NOT NULL)`)
export class NoticeDelivery {
  @PrimaryGeneratedColumn('uuid', { primaryKeyConstraintName: 'pk_notice_delivery' })
  id!: string;

  @Column('uuid', { name: 'notice_id' })
  noticeId!: string;

  @ManyToOne(() => Notice, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'notice_id', foreignKeyConstraintName: 'fk_notice_delivery_notice' })
  notice?: Notice;

  /** No foreign key: see the migration. */
  @Column('uuid', { name: 'webhook_id' })
  webhookId!: string;

  @Column('text', { default: 'pending' })
  state!: DeliveryState;

  /** Those that have begun since it was last asked for. */
  @Column('integer', { default: 0 })
  attempts!: number;

  /** While an attempt is being made: when another instance may take over, since this one seems to be dead. */
  @Column({ type: 'timestamptz', precision: 3, name: 'next_attempt_at', nullable: true })
  nextAttemptAt!: Date | null;

  /** The attempt that is being made: only that one may say how it ended. */
  @Column('uuid', { nullable: true })
  claim!: string | null;

  @Column({ type: 'timestamptz', precision: 3, name: 'last_attempt_at', nullable: true })
  lastAttemptAt!: Date | null;

  /** HTTP status, where there was an answer. */
  @Column('integer', { name: 'last_status', nullable: true })
  lastStatus!: number | null;

  @Column('text', { name: 'last_error', nullable: true })
  lastError!: DeliveryError | null;

  @Column('integer', { name: 'last_duration_ms', nullable: true })
  lastDurationMs!: number | null;

  @Column({ type: 'timestamptz', precision: 3, name: 'delivered_at', nullable: true })
  deliveredAt!: Date | null;
}
