import {
  Check,
  Column,
  CreateDateColumn,
  Entity,
  Index,
  JoinColumn,
  ManyToOne,
  PrimaryColumn,
  type Relation,
} from 'typeorm';
import { ChannelUser } from '../model/channel-user.entity.ts';
import { Credential } from '../model/credential.entity.ts';

export const HANDOVER_STATUSES = ['waiting', 'revealed', 'expired', 'revoked'] as const;
export type HandoverStatus = (typeof HANDOVER_STATUSES)[number];

/** A link that shows the password of one credential once, to anyone who has the link. */
@Entity('handover')
@Check('ck_handover_wiped', `sealed_password IS NULL OR (revealed_at IS NULL AND revoked_at IS NULL)`)
@Index('uq_handover_secret_hash', ['secretHash'], { unique: true })
@Index('ix_handover_channel_user', ['channelUserId', 'createdAt'])
@Index('ix_handover_credential', ['credentialId'])
@Index('ix_handover_sealed', ['expiresAt'], { where: 'sealed_password IS NOT NULL' })
export class Handover {
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'pk_handover' })
  id!: string;

  @Column('uuid', { name: 'channel_user_id' })
  channelUserId!: string;

  @ManyToOne(() => ChannelUser, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'channel_user_id', foreignKeyConstraintName: 'fk_handover_channel_user' })
  channelUser?: Relation<ChannelUser>;

  @Column('uuid', { name: 'credential_id' })
  credentialId!: string;

  @ManyToOne(() => Credential, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'credential_id', foreignKeyConstraintName: 'fk_handover_credential' })
  credential?: Relation<Credential>;

  /** SHA-256 of the link's secret, which has 256 random bits and is stored nowhere. */
  @Column('bytea', { name: 'secret_hash', select: false })
  secretHash!: Buffer;

  /** The password, encrypted under the key encryption key; `null` after the link was revealed, revoked or expired. */
  @Column('bytea', { name: 'sealed_password', nullable: true, select: false })
  sealedPassword!: Buffer | null;

  @CreateDateColumn({ type: 'timestamptz', precision: 3, name: 'created_at' })
  createdAt!: Date;

  /** Id of the staff member who created the link; `null` when no staff member did. */
  @Column('uuid', { name: 'created_by', nullable: true })
  createdBy!: string | null;

  @Column({ type: 'timestamptz', precision: 3, name: 'expires_at' })
  expiresAt!: Date;

  @Column({ type: 'timestamptz', precision: 3, name: 'revealed_at', nullable: true })
  revealedAt!: Date | null;

  @Column('text', { name: 'revealed_address', nullable: true })
  revealedAddress!: string | null;

  @Column({ type: 'timestamptz', precision: 3, name: 'revoked_at', nullable: true })
  revokedAt!: Date | null;

  /** Audited attempts to use the link after it ended, at most `RECORDED_REFUSALS`. */
  @Column('smallint', { default: 0 })
  refusals!: number;

  /** The status of the link. If `credential` is loaded and has ended, the link has ended, too. */
  statusAt(now: number): HandoverStatus {
    if (this.revealedAt !== null) return 'revealed';
    if (this.revokedAt !== null) return 'revoked';
    const credentialEndedAt = this.credential?.revokedAt ?? null;
    if (credentialEndedAt !== null && credentialEndedAt < this.expiresAt) return 'revoked';
    const isExpired = this.expiresAt.getTime() <= now || this.credential?.isExpiredAt(now) === true;
    return isExpired ? 'expired' : 'waiting';
  }
}
