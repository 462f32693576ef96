import { Check, Column, Entity, Index, JoinColumn, ManyToOne, PrimaryGeneratedColumn } from 'typeorm';
import { Notice } from './notice.entity.ts';

/** `failed`: the last attempt failed and another follows. `given-up`: none follows unless staff ask for one. */
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

  /** No foreign key: its lock on the webhook could deadlock with a change of the webhook, see the migration notices. */
  @Column('uuid', { name: 'webhook_id' })
  webhookId!: string;

  @Column('text', { default: 'pending' })
  state!: DeliveryState;

  /** Attempts that have begun since the delivery was made or last retried by staff. */
  @Column('integer', { default: 0 })
  attempts!: number;

  /** When the next attempt is due. During an attempt: when the lease ends and another instance may take over. */
  @Column({ type: 'timestamptz', precision: 3, name: 'next_attempt_at', nullable: true })
  nextAttemptAt!: Date | null;

  /** The running attempt: only this one may record its outcome. A UUID of version 7, see the migration webhook-url. */
  @Column('uuid', { nullable: true })
  claim!: string | null;

  @Column({ type: 'timestamptz', precision: 3, name: 'last_attempt_at', nullable: true })
  lastAttemptAt!: Date | null;

  /** The HTTP status of the last attempt, if it got an answer. */
  @Column('integer', { name: 'last_status', nullable: true })
  lastStatus!: number | null;

  @Column('text', { name: 'last_error', nullable: true })
  lastError!: DeliveryError | null;

  @Column('integer', { name: 'last_duration_ms', nullable: true })
  lastDurationMs!: number | null;

  @Column({ type: 'timestamptz', precision: 3, name: 'delivered_at', nullable: true })
  deliveredAt!: Date | null;
}
