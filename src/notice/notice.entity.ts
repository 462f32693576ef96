import { Column, CreateDateColumn, Entity, Index, PrimaryColumn } from 'typeorm';

/** The types that webhooks may ask for, in the order in which people see them. */
export const EVENT_TYPES = [
  'credential.expiring',
  'credential.rotation_started',
  'credential.rotation_pending',
  'credential.rotation_withdrawn',
  'credential.rotated',
  'credential.ended',
  'credential.reported_leaked',
  'channel_user.expiring',
  'channel_user.suspended',
  'channel_user.reactivated',
  'sign_in.failing',
  'staff.break_glass_used',
] as const;
export type EventType = (typeof EVENT_TYPES)[number];
/** `webhook.test` is sent to a single webhook, on request. */
export const NOTICE_TYPES = [...EVENT_TYPES, 'webhook.test'] as const;
export type NoticeType = (typeof NOTICE_TYPES)[number];

/**
 * Something that staff and their systems should know. A trigger writes the notice of a change together with the
 * change's audit event. Scans write the notices of expiries and of failing sign-ins.
 */
@Entity('notice')
@Index('uq_notice_once', ['once'], { unique: true })
@Index('ix_notice_type', ['type', 'id'])
@Index('ix_notice_channel_user', ['channelUserId', 'type', 'createdAt'])
@Index('ix_notice_created_at', ['createdAt'])
export class Notice {
  /** A UUID of version 7. It is the `webhook-id` of every attempt, so that receivers recognize repetitions. */
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'pk_notice' })
  id!: string;

  @Column('text')
  type!: NoticeType;

  /** Names the occurrence. It is unique, so that only one of two instances that see it makes a notice. */
  @Column('text')
  once!: string;

  /** No foreign key, so that notices remain when the account is deleted. */
  @Column('uuid', { name: 'channel_user_id', nullable: true })
  channelUserId!: string | null;

  /** The payload's `data`: ids, names, times; nothing secret. */
  @Column('jsonb')
  data!: object;

  @CreateDateColumn({ type: 'timestamptz', precision: 3, name: 'created_at' })
  createdAt!: Date;
}
