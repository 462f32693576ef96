import { Column, CreateDateColumn, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { ChannelUser } from '../model/channel-user.entity.ts';

/** A module's resource that a channel user may see, and its further permissions for that resource. */
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

  /** The id that the resource's module uses. */
  @PrimaryColumn('text', { name: 'resource_id', primaryKeyConstraintName: 'pk_resource_grant' })
  resourceId!: string;

  @Column('text', { array: true, default: [] })
  permissions!: string[];

  /** Id of the staff member; `null` when no staff member granted it. */
  @Column('uuid', { name: 'granted_by', nullable: true })
  grantedBy!: string | null;

  @CreateDateColumn({ type: 'timestamptz', precision: 3, name: 'granted_at' })
  grantedAt!: Date;

  @Column({ type: 'timestamptz', precision: 3, name: 'expires_at', nullable: true })
  expiresAt!: Date | null;
}
