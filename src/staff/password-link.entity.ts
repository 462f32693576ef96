import { Column, CreateDateColumn, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { Staff } from './staff.entity.ts';

type PasswordLinkStatus = 'waiting' | 'used' | 'revoked' | 'expired';

/** A one-time link with which a staff member chooses a password. */
@Entity('password_link')
@Index('uq_password_link_secret_hash', ['secretHash'], { unique: true })
@Index('ix_password_link_staff', ['staffId'])
export class PasswordLink {
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'pk_password_link' })
  id!: string;

  @Column('uuid', { name: 'staff_id' })
  staffId!: string;

  @ManyToOne(() => Staff, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'staff_id', foreignKeyConstraintName: 'fk_password_link_staff' })
  staff?: Relation<Staff>;

  /** SHA-256 of the link's secret, which has 256 random bits and is stored nowhere. */
  @Column('bytea', { name: 'secret_hash', select: false })
  secretHash!: Buffer;

  @CreateDateColumn({ type: 'timestamptz', precision: 3, name: 'created_at' })
  createdAt!: Date;

  /** Id of the admin who created the link. */
  @Column('uuid', { name: 'created_by', nullable: true })
  createdBy!: string | null;

  @Column({ type: 'timestamptz', precision: 3, name: 'expires_at' })
  expiresAt!: Date;

  @Column({ type: 'timestamptz', precision: 3, name: 'used_at', nullable: true })
  usedAt!: Date | null;

  @Column({ type: 'timestamptz', precision: 3, name: 'revoked_at', nullable: true })
  revokedAt!: Date | null;

  /** Audited attempts to use the link after it ended, at most `RECORDED_REFUSALS`. */
  @Column('smallint', { default: 0 })
  refusals!: number;

  statusAt(now: number): PasswordLinkStatus {
    if (this.usedAt !== null) return 'used';
    if (this.revokedAt !== null) return 'revoked';
    return this.expiresAt.getTime() <= now ? 'expired' : 'waiting';
  }
}
