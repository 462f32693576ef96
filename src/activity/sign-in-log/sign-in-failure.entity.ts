import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/**
 * A channel user that was refused and has not obtained a token since. The sign-in recorder writes the row, and deletes
 * it after the next token. Rows outlive their channel user for a while.
 */
@Entity('sign_in_failure')
@Index('ix_sign_in_failure_last_at', ['lastAt', 'channelUserId'])
export class SignInFailure {
  @PrimaryColumn('uuid', { name: 'channel_user_id', primaryKeyConstraintName: 'pk_sign_in_failure' })
  channelUserId!: string;

  /** The time of the first refusal. */
  @Column({ type: 'timestamptz', precision: 3 })
  since!: Date;

  @Column({ type: 'timestamptz', precision: 3, name: 'last_at' })
  lastAt!: Date;

  /** The true reason of the last refusal. */
  @Column('text')
  reason!: string;

  /** A bigint, so a string in JavaScript. */
  @Column('bigint')
  refusals!: string;

  /** The time of the last token before these refusals. */
  @Column({ type: 'timestamptz', precision: 3, name: 'token_at', nullable: true })
  tokenAt!: Date | null;
}
