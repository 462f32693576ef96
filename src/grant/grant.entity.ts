import { Column, CreateDateColumn, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { ChannelUser } from '../channel-user/channel-user.entity.ts';

/** A resource of some module that a channel user may see, and what else it may do with it. */
@Entity('resource_grant')
@Index('ix_resource_grant_resource', ['resourceType', 'resourceId', 'channelUserId'])
export class Grant {
  @PrimaryColumn('uuid', { name: 'channel_user_id', primaryKeyConstraintName: 'pk_resource_grant' })
  channelUserId!: string;

  @ManyToOne(() => ChannelUser, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'channel_user_id', foreignKeyConstraintName: 'fk_resource_grant_channel_user' })
  channelUser?: Relation<ChannelUser>;

  @PrimaryColumn('text', { name: 'resource_type', primaryKeyConstraintName: 'pk_resource_grant' })
  resourceType!: string;

  /** Whatever the module that has the resource calls it. */
  @PrimaryColumn('text', { name: 'resource_id', primaryKeyConstraintName: 'pk_resource_grant' })
  resourceId!: string;

  @Column('text', { array: true, default: [] })
  permissions!: string[];

  /** The staff member; `null` when it was none. */
  @Column('uuid', { name: 'granted_by', nullable: true })
  grantedBy!: string | null;

  @CreateDateColumn({ type: 'timestamptz', precision: 3, name: 'granted_at' })
  grantedAt!: Date;

  @Column({ type: 'timestamptz', precision: 3, name: 'expires_at', nullable: true })
  expiresAt!: Date | null;
}
