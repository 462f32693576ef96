import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** A logout token of the identity provider that was used, kept until it expires, so that it works only once. */
@Entity('used_logout_token')
@Index('ix_used_logout_token_expires_at', ['expiresAt'])
export class UsedLogoutToken {
  /** SHA-256 of issuer and `jti`, in base64url. */
  @PrimaryColumn('text', { name: 'id_hash', primaryKeyConstraintName: 'pk_used_logout_token' })
  idHash!: string;

  @Column({ type: 'timestamptz', precision: 3, name: 'expires_at' })
  expiresAt!: Date;
}
