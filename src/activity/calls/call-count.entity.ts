import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/**
 * The guarded calls of one channel user to one route in one hour, with answers of one class, as one instance counted
 * them. `tr_channel_user_calls_gone` deletes the rows of a deleted channel user.
 */
@Entity('call_count')
@Index('ix_call_count_hour', ['hour'])
export class CallCount {
  @PrimaryColumn('uuid', { name: 'channel_user_id', primaryKeyConstraintName: 'pk_call_count' })
  channelUserId!: string;

  /** The hour's start. */
  @PrimaryColumn({ type: 'timestamptz', precision: 3, primaryKeyConstraintName: 'pk_call_count' })
  hour!: Date;

  /** The route's template, or `other`. */
  @PrimaryColumn('text', { primaryKeyConstraintName: 'pk_call_count' })
  route!: string;

  /** Empty for the route `other`. */
  @PrimaryColumn('text', { primaryKeyConstraintName: 'pk_call_count' })
  method!: string;

  /** The first digit of the status. */
  @PrimaryColumn('smallint', { name: 'status_class', primaryKeyConstraintName: 'pk_call_count' })
  statusClass!: number;

  /** A random id of the count in the memory of an instance. */
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'pk_call_count' })
  writer!: string;

  /** A bigint, so a string in JavaScript. */
  @Column('bigint')
  calls!: string;
}
