import {
  Check,
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

export const CREDENTIAL_STATUSES = ['active', 'pending', 'expired', 'revoked', 'withdrawn'] as const;
export type CredentialStatus = (typeof CREDENTIAL_STATUSES)[number];

/** Who began a rotation: staff, a service account, the channel user itself, or Latchkey. */
export const BEGINNERS = ['staff', 'service-account', 'account', 'system'] as const;
export type Beginner = (typeof BEGINNERS)[number];

/** Days after its creation at which a pending credential that nobody has used is withdrawn. */
export const PENDING_DAYS = 30;

/** One password of a channel user. Several may be live, so that a partner can rotate without a gap. */
@Entity('credential')
@Check('ck_credential_pending', 'NOT pending OR retire_seconds IS NOT NULL')
@Check('ck_credential_withdrawn', 'withdrawn_at IS NULL OR (pending AND revoked_at IS NOT NULL)')
@Check('ck_credential_begun_by', `begun_by IN ('staff', 'service-account', 'account', 'system')`)
@Index('uq_credential_pending', ['channelUserId'], { unique: true, where: 'pending AND revoked_at IS NULL' })
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

  /** Whether it has waited for its first use since it was created. Its first token sets it to false. */
  @Column('boolean', { default: false })
  pending!: boolean;

  /** When its first token made it active; `null` if it was never pending. */
  @Column({ type: 'timestamptz', precision: 3, name: 'activated_at', nullable: true })
  activatedAt!: Date | null;

  /** When its rotation was withdrawn. `revokedAt` has the same time, so that every version refuses it. */
  @Column({ type: 'timestamptz', precision: 3, name: 'withdrawn_at', nullable: true })
  withdrawnAt!: Date | null;

  /** Seconds from its first use until the other credentials end; `null` if it was never pending. */
  @Column('integer', { name: 'retire_seconds', nullable: true })
  retireSeconds!: number | null;

  /** Who created it; `null` for a credential that an import or an older version created. */
  @Column('text', { name: 'begun_by', nullable: true })
  begunBy!: Beginner | null;

  /** Id of the staff member or service account that created it. */
  @Column('uuid', { name: 'begun_by_id', nullable: true })
  begunById!: string | null;

  /** The credential whose password proved that the channel user itself created this one. */
  @Column('uuid', { name: 'proved_by', nullable: true })
  provedBy!: string | null;

  /** When somebody who had its password reported it as leaked. */
  @Column({ type: 'timestamptz', precision: 3, name: 'reported_leaked_at', nullable: true })
  reportedLeakedAt!: Date | null;

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
    if (this.withdrawnAt !== null) return 'withdrawn';
    if (this.revokedAt !== null) return 'revoked';
    if (this.isExpiredAt(now)) return 'expired';
    return this.pending ? 'pending' : 'active';
  }

  /** Whether its password gets tokens. */
  isLiveAt(now: number): boolean {
    return this.revokedAt === null && !this.isExpiredAt(now);
  }
}
