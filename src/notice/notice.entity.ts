import { Column, CreateDateColumn, Entity, Index, PrimaryColumn } from 'typeorm';

/** What webhooks may ask for, in the order that people read them. */
export const EVENT_TYPES = [
  'credential.expiring',
  'credential.rotated',
  'channel_user.expiring',
  'channel_user.suspended',
  'channel_user.reactivated',
  'sign_in.failing',
] as const;
/** The last is sent to one webhook, when somebody asks for it. */
export const NOTICE_TYPES = [...EVENT_TYPES, 'webhook.test'] as const;
export type NoticeType = (typeof NOTICE_TYPES)[number];

/**
 * Something that staff and their systems should know. Those that tell of a change are written by a trigger, with the
 * change's audit event; the others by scans.
 */
@Entity('notice')
@Index('uq_notice_once', ['once'], { unique: true })
@Index('ix_notice_type', ['type', 'id'])
@Index('ix_notice_channel_user', ['channelUserId', 'type', 'createdAt'])
@Index('ix_notice_created_at', ['createdAt'])
export class Notice {
  /** A UUID of version 7, and the `webhook-id`: the same at every attempt, so that receivers can tell repetitions. */
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'pk_notice' })
  id!: string;

  @Column('text')
  type!: NoticeType;

  /** What it tells of: of two instances that notice the same thing, one makes the notice. */
  @Column('text')
  once!: string;

  /** No foreign key: what happened stays told when the account is deleted. */
  @Column('uuid', { name: 'channel_user_id', nullable: true })
  channelUserId!: string | null;

  /** The payload's `data`: ids, names, times; nothing secret. */
  @Column('jsonb')
  data!: object;

  @CreateDateColumn({ type: 'timestamptz', precision: 3, name: 'created_at' })
  createdAt!: Date;
}
