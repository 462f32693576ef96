import {
  Column,
  CreateDateColumn,
  Entity,
  Index,
  JoinColumn,
  ManyToOne,
  PrimaryGeneratedColumn,
  type Relation,
} from 'typeorm';
import { ChannelUser } from './channel-user.entity.ts';

export type CredentialStatus = 'active' | 'expired' | 'revoked';

/** One password of a channel user. Several may be live, so that a partner can rotate without a gap. */
@Entity('credential')
@Index('ix_credential_channel_user', ['channelUserId'])
@Index('uq_credential_slow_hash', { synchronize: false })
@Index('ix_credential_slow_hash_cost', { synchronize: false })
@Index('ix_credential_keyed_hash', ['id'], { where: 'keyed_hash IS NOT NULL' })
@Index('ix_credential_expires_at', ['expiresAt', 'channelUserId', 'superseded'], {
  where: 'revoked_at IS NULL AND expires_at IS NOT NULL',
})
export class Credential {
  @PrimaryGeneratedColumn('uuid', { primaryKeyConstraintName: 'pk_credential' })
  id!: string;

  @Column('uuid', { name: 'channel_user_id' })
  channelUserId!: string;

  @ManyToOne(() => ChannelUser, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'channel_user_id', foreignKeyConstraintName: 'fk_credential_channel_user' })
  channelUser?: Relation<ChannelUser>;

  @Column('text')
  label!: string;

  /** First 8 hexadecimal digits of the password's SHA-256; `null` unless Latchkey generated it. */
  @Column('text', { nullable: true })
  fingerprint!: string | null;

  /** The hash, which names its own scheme; see `secret-hash.ts`. */
  @Column('text', { name: 'secret_hash', select: false })
  secretHash!: string;

  /** A fast hash of a password that the slow hash has verified, for the next sign-ins; see `keyed-hash.ts`. */
  @Column('text', { name: 'keyed_hash', select: false, nullable: true })
  keyedHash!: string | null;

  @CreateDateColumn({ type: 'timestamptz', precision: 3, name: 'created_at' })
  createdAt!: Date;

  @Column({ type: 'timestamptz', precision: 3, name: 'expires_at', nullable: true })
  expiresAt!: Date | null;

  /** Whether a rotation replaced it by one that lasts at least as long. Nobody then needs to hear of its expiry. */
  @Column('boolean', { default: false })
  superseded!: boolean;

  @Column({ type: 'timestamptz', precision: 3, name: 'revoked_at', nullable: true })
  revokedAt!: Date | null;

  @Column({ type: 'timestamptz', precision: 3, name: 'last_used_at', nullable: true })
  lastUsedAt!: Date | null;

  @Column('text', { name: 'last_used_address', nullable: true })
  lastUsedAddress!: string | null;

  @Column('text', { name: 'last_used_user_agent', nullable: true })
  lastUsedUserAgent!: string | null;

  isExpiredAt(now: number): boolean {
    return this.expiresAt !== null && this.expiresAt.getTime() <= now;
  }

  statusAt(now: number): CredentialStatus {
    if (this.revokedAt !== null) return 'revoked';
    return this.isExpiredAt(now) ? 'expired' : 'active';
  }
}
