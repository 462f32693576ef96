import { Check, Column, CreateDateColumn, Entity, Index, PrimaryGeneratedColumn } from 'typeorm';
import type { Credential } from './credential.entity.ts';

export const CHANNEL_USER_STATUSES = ['active', 'suspended', 'expired'] as const;
export type ChannelUserStatus = (typeof CHANNEL_USER_STATUSES)[number];

/** A partner's account. The expression indexes behind search, lists and sorting stand in the migration. */
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
@Index('ix_channel_user_suspended', ['usernameKey'], { where: 'suspended_at IS NOT NULL' })
@Index('ix_channel_user_expires_at', ['expiresAt', 'suspendedAt', 'id'], { where: 'expires_at IS NOT NULL' })
export class ChannelUser {
  @PrimaryGeneratedColumn('uuid', { primaryKeyConstraintName: 'pk_channel_user' })
  id!: string;

  /** As staff typed it. */
  @Column('text')
  username!: string;

  /** In lower case: what makes it unique and finds it. */
  @Column({ type: 'text', name: 'username_key', collation: 'C' })
  usernameKey!: string;

  @Column('text', { name: 'display_name' })
  displayName!: string;

  @Column('text', { name: 'contact_email', nullable: true })
  contactEmail!: string | null;

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

  /** Addresses and CIDR networks; empty means anywhere. */
  @Column('text', { name: 'allowed_ips', array: true })
  allowedIps!: string[];

  @Column('text', { nullable: true })
  notes!: string | null;

  /** Username, display name and e-mail in lower case: what `q` searches. */
  @Column('text', { name: 'search_text', select: false })
  searchText!: string;

  /** Raised by revoke-tokens; tokens of another epoch are dead. */
  @Column('integer', { default: 0 })
  epoch!: number;

  /** When the epoch was raised last. */
  @Column({ type: 'timestamptz', precision: 3, name: 'tokens_revoked_at', nullable: true })
  tokensRevokedAt!: Date | null;

  /** Counts what staff changed: the ETag. */
  @Column('integer', { default: 1 })
  version!: number;

  @CreateDateColumn({ type: 'timestamptz', precision: 3, name: 'created_at' })
  createdAt!: Date;

  @Column({ type: 'timestamptz', precision: 3, name: 'updated_at' })
  updatedAt!: Date;

  @Column({ type: 'timestamptz', precision: 3, name: 'last_token_at', nullable: true })
  lastTokenAt!: Date | null;

  /** Filled by the queries that join them; the relation itself stands in {@link Credential}. */
  credentials?: Credential[];

  /** Suspended outranks expired. */
  statusAt(now: number): ChannelUserStatus {
    if (this.suspendedAt !== null) return 'suspended';
    return this.expiresAt !== null && this.expiresAt.getTime() <= now ? 'expired' : 'active';
  }
}
