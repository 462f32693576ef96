import { Check, Column, CreateDateColumn, Entity, Index, PrimaryGeneratedColumn, VirtualColumn } from 'typeorm';
import type { Credential } from './credential.entity.ts';

export const CHANNEL_USER_STATUSES = ['active', 'suspended', 'expired'] as const;
export type ChannelUserStatus = (typeof CHANNEL_USER_STATUSES)[number];

/** A partner's account. The migrations define the expression indexes for search, lists and sorting. */
@Entity('channel_user')
@Check('ck_channel_user_username', `username ~ '^[A-Za-z0-9._@-]{3,64}$'`)
@Check('ck_channel_user_username_key', `username_key = lower(username COLLATE "C")`)
@Check('ck_channel_user_token_ttl', `token_ttl_seconds BETWEEN 60 AND 86400`)
@Check('ck_channel_user_tokens_per_minute', `tokens_per_minute >= 1`)
@Index('uq_channel_user_username', ['usernameKey'], { unique: true })
@Index('ix_channel_user_created_at', ['createdAt', 'id'])
@Index('ix_channel_user_last_token_at', { synchronize: false })
@Index('ix_channel_user_silent', { synchronize: false })
@Index('ix_channel_user_search', { synchronize: false })
@Index('ix_channel_user_scopes', { synchronize: false })
@Index('ix_channel_user_external_id', ['externalId'], { where: 'external_id IS NOT NULL' })
@Index('ix_channel_user_suspended', ['usernameKey', 'createdAt', 'id'], { where: 'suspended_at IS NOT NULL' })
@Index('ix_channel_user_expires_at', ['expiresAt', 'suspendedAt', 'id'], { where: 'expires_at IS NOT NULL' })
export class ChannelUser {
  @PrimaryGeneratedColumn('uuid', { primaryKeyConstraintName: 'pk_channel_user' })
  id!: string;

  /** The username as staff typed it. */
  @Column('text')
  username!: string;

  /** The username in lower case, which is unique and by which accounts are found. */
  @Column({ type: 'text', name: 'username_key', collation: 'C' })
  usernameKey!: string;

  @Column('text', { name: 'display_name' })
  displayName!: string;

  @Column('text', { name: 'contact_email', nullable: true })
  contactEmail!: string | null;

  /** The partner's id in the CRM; accounts of one company share it. */
  @Column('text', { name: 'external_id', nullable: true })
  externalId!: string | null;

  @Column({ type: 'timestamptz', precision: 3, name: 'suspended_at', nullable: true })
  suspendedAt!: Date | null;

  @Column({ type: 'timestamptz', precision: 3, name: 'expires_at', nullable: true })
  expiresAt!: Date | null;

  @Column('text', { array: true })
  scopes!: string[];

  @Column('integer', { name: 'token_ttl_seconds' })
  tokenTtlSeconds!: number;

  @Column('integer', { name: 'tokens_per_minute' })
  tokensPerMinute!: number;

  /** Addresses and CIDR networks. An empty list allows every address. */
  @Column('text', { name: 'allowed_ips', array: true })
  allowedIps!: string[];

  /** Whether the partner may rotate its passwords by itself. Its other calls do not depend on this. */
  @Column('boolean', { name: 'self_service', default: true })
  selfService!: boolean;

  @Column('text', { nullable: true })
  notes!: string | null;

  /** Username, display name and e-mail, folded for the search with `q`. */
  @Column('text', { name: 'search_text', select: false })
  searchText!: string;

  /** The claim `epoch` of the account's tokens. revoke-tokens raises it, which ends every earlier token. */
  @Column('integer', { name: 'epoch', default: 0 })
  tokenGeneration!: number;

  /** When the token generation was last raised. */
  @Column({ type: 'timestamptz', precision: 3, name: 'tokens_revoked_at', nullable: true })
  tokensRevokedAt!: Date | null;

  /** The number of changes by staff, which is the ETag. */
  @Column('integer', { default: 1 })
  version!: number;

  @CreateDateColumn({ type: 'timestamptz', precision: 3, name: 'created_at' })
  createdAt!: Date;

  @Column({ type: 'timestamptz', precision: 3, name: 'updated_at' })
  updatedAt!: Date;

  /** Read from `channel_user_use`, see `LastUse`. */
  @VirtualColumn({
    type: 'timestamptz',
    query: (alias) =>
      `SELECT NULLIF(last_token_at, '-infinity') FROM channel_user_use WHERE channel_user_id = ${alias}.id`,
  })
  lastTokenAt!: Date | null;

  /** The previous release reads and writes this column during a rolling deploy. The next release drops it. */
  @Column({ type: 'timestamptz', precision: 3, name: 'last_token_at', nullable: true, select: false, update: false })
  formerLastTokenAt?: Date | null;

  /** Filled only by queries that join credentials. {@link Credential} declares the relation. */
  credentials?: Credential[];

  /** Suspended outranks expired. */
  statusAt(now: number): ChannelUserStatus {
    if (this.suspendedAt !== null) return 'suspended';
    return this.expiresAt !== null && this.expiresAt.getTime() <= now ? 'expired' : 'active';
  }
}
