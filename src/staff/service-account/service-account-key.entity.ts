import { Check, Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { ServiceAccount } from './service-account.entity.ts';

/** The statuses of a key that works. */
export const LIVE_KEY_STATUSES = ['active', 'pending'] as const;
export type KeyStatus = (typeof LIVE_KEY_STATUSES)[number] | 'expired' | 'revoked';

/** Days after its creation at which a pending key that nobody has used is withdrawn. */
export const PENDING_KEY_DAYS = 30;

/** One key of a service account. Several may be live, so that a script can rotate without a gap. */
@Entity('service_account_key')
@Check('ck_service_account_key_pending', 'NOT pending OR retire_seconds IS NOT NULL')
@Index('ix_service_account_key_account', ['serviceAccountId'])
@Index('uq_service_account_key_pending', ['serviceAccountId'], {
  unique: true,
  where: 'pending AND revoked_at IS NULL',
})
export class ServiceAccountKey {
  /** Stands in the key, so that a lookup needs no secret. */
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'pk_service_account_key' })
  id!: string;

  @Column('uuid', { name: 'service_account_id' })
  serviceAccountId!: string;

  @ManyToOne(() => ServiceAccount, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'service_account_id', foreignKeyConstraintName: 'fk_service_account_key_account' })
  serviceAccount?: Relation<ServiceAccount>;

  /** The SHA-256 of the whole key, see `secret-hash.ts`. */
  @Column('text', { name: 'secret_hash', select: false })
  secretHash!: string;

  @Column({ type: 'timestamptz', precision: 3, name: 'created_at' })
  createdAt!: Date;

  /** When it ends, once a newer key has replaced it. */
  @Column({ type: 'timestamptz', precision: 3, name: 'expires_at', nullable: true })
  expiresAt!: Date | null;

  /** When it was revoked or withdrawn. */
  @Column({ type: 'timestamptz', precision: 3, name: 'revoked_at', nullable: true })
  revokedAt!: Date | null;

  /** Whether it has waited for its first use since it was created. Its first use sets it to false. */
  @Column('boolean', { default: false })
  pending!: boolean;

  /** Seconds from its first use until the other keys end; `null` if it was never pending. */
  @Column('integer', { name: 'retire_seconds', nullable: true })
  retireSeconds!: number | null;

  @Column({ type: 'timestamptz', precision: 3, name: 'last_used_at', nullable: true })
  lastUsedAt!: Date | null;

  @Column('text', { name: 'last_used_address', nullable: true })
  lastUsedAddress!: string | null;

  statusAt(now: number): KeyStatus {
    if (this.revokedAt !== null) return 'revoked';
    if (this.expiresAt !== null && this.expiresAt.getTime() <= now) return 'expired';
    return this.pending ? 'pending' : 'active';
  }

  isLiveAt(now: number): boolean {
    const status = this.statusAt(now);
    return status === 'active' || status === 'pending';
  }
}
