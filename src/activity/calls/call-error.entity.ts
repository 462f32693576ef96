import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/**
 * A guarded call of a channel user that was refused or failed, or a count of those for one reason in one minute. Has no
 * value of the request. `tr_channel_user_calls_gone` deletes the rows of a deleted channel user.
 */
@Entity('call_error')
@Index('ix_call_error_channel_user', ['channelUserId', 'at', 'id'])
@Index('ix_call_error_request', ['requestId'])
@Index('ix_call_error_at', ['at'])
@Index('uq_call_error_minute', ['channelUserId', 'minute', 'reason'], { unique: true, where: 'minute IS NOT NULL' })
export class CallError {
  /** A UUID of version 7, so that ids sort by time. */
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'pk_call_error' })
  id!: string;

  @Column('uuid', { name: 'channel_user_id' })
  channelUserId!: string;

  @Column({ type: 'timestamptz', precision: 3 })
  at!: Date;

  @Column('text')
  method!: string;

  /** The route's template. */
  @Column('text')
  route!: string;

  @Column('smallint')
  status!: number;

  /** Absent from an error that a module answered by itself. */
  @Column('text', { nullable: true })
  code!: string | null;

  /** Why a token was refused, see `TokenRefusalReason`. Otherwise the code, or the status where there is no code. */
  @Column('text')
  reason!: string;

  @Column('uuid', { name: 'request_id' })
  requestId!: string;

  @Column('integer')
  count!: number;

  /** In a row that counts errors: the minute that the count covers. */
  @Column({ type: 'timestamptz', precision: 3, nullable: true })
  minute!: Date | null;
}
