import { Check, Column, CreateDateColumn, Entity, Index, PrimaryColumn } from 'typeorm';

/** `partner` keys sign access tokens, `staff` keys sign staff sessions and are never published. */
export type SigningKeyPurpose = 'partner' | 'staff';

@Entity('signing_key')
@Check('ck_signing_key_purpose', `purpose IN ('partner', 'staff')`)
@Index('uq_signing_key_active', ['purpose'], { unique: true, where: 'retired_at IS NULL' })
export class SigningKey {
  /** RFC 7638 thumbprint of the public key. */
  @PrimaryColumn('text', { primaryKeyConstraintName: 'pk_signing_key' })
  kid!: string;

  @Column('text')
  purpose!: SigningKeyPurpose;

  @Column('jsonb', { name: 'public_jwk' })
  publicJwk!: Record<string, string>;

  /** PKCS #8, encrypted under the key encryption key. */
  @Column('bytea', { name: 'private_key', select: false })
  privateKey!: Buffer;

  @CreateDateColumn({ type: 'timestamptz', precision: 3, name: 'created_at' })
  createdAt!: Date;

  @Column({ type: 'timestamptz', precision: 3, name: 'retired_at', nullable: true })
  retiredAt!: Date | null;
}
