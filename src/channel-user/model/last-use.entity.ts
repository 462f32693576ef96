import { Column, Entity, Index, JoinColumn, OneToOne, PrimaryColumn, type Relation } from 'typeorm';
import { ChannelUser } from './channel-user.entity.ts';

/**
 * When a channel user obtained its last token. A trigger on `channel_user` inserts a row for every account. The table
 * has few columns, so that recording a use costs little.
 */
@Entity('channel_user_use')
@Index('ix_channel_user_use_last_token_at', ['lastTokenAt', 'channelUserId'])
@Index('ix_channel_user_use_unused', ['createdAt', 'channelUserId'], { where: `last_token_at = '-infinity'` })
export class LastUse {
  @PrimaryColumn('uuid', { name: 'channel_user_id', primaryKeyConstraintName: 'pk_channel_user_use' })
  channelUserId!: string;

  @OneToOne(() => ChannelUser, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'channel_user_id', foreignKeyConstraintName: 'fk_channel_user_use_channel_user' })
  channelUser?: Relation<ChannelUser>;

  /** The account's `created_at`. */
  @Column({ type: 'timestamptz', precision: 3, name: 'created_at' })
  createdAt!: Date;

  /** `-infinity` until the account obtains a token. */
  @Column({ type: 'timestamptz', precision: 3, name: 'last_token_at', default: () => `'-infinity'` })
  lastTokenAt!: Date | number;
}
