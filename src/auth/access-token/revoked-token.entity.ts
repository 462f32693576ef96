import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** A token that was revoked before it expired. The row may be deleted once the token would have expired. */
@Entity('revoked_token')
@Index('ix_revoked_token_expires_at', ['expiresAt'])
export class RevokedToken {
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'pk_revoked_token' })
  jti!: string;

  @Column({ type: 'timestamptz', precision: 3, name: 'expires_at' })
  expiresAt!: Date;

  @Column({ type: 'timestamptz', precision: 3, name: 'revoked_at' })
  revokedAt!: Date;
}
