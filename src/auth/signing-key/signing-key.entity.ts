import { Check, Column, CreateDateColumn, Entity, Generated, Index, PrimaryColumn } from 'typeorm';

export const SIGNING_KEY_PURPOSES = ['partner', 'staff'] as const;
/** `partner` keys sign access tokens, `staff` keys sign staff sessions and are never published. */
export type SigningKeyPurpose = (typeof SIGNING_KEY_PURPOSES)[number];

export const SIGNING_KEY_STATES = ['published', 'active', 'retiring', 'retired', 'revoked'] as const;
/**
 * A `published` key is the standby, an `active` key signs, a `retiring` key verifies until its last token has expired,
 * and `retired` and `revoked` keys verify nothing.
 */
export type SigningKeyState = (typeof SIGNING_KEY_STATES)[number];

/** The states in which a key verifies tokens. */
export const VERIFYING_STATES: readonly SigningKeyState[] = ['published', 'active', 'retiring'];

@Entity('signing_key')
@Check('ck_signing_key_purpose', `purpose IN ('partner', 'staff')`)
@Check('ck_signing_key_state', `state IN ('published', 'active', 'retiring', 'retired', 'revoked')`)
@Index('uq_signing_key_id', ['id'], { unique: true })
@Index('uq_signing_key_active', ['purpose'], { unique: true, where: `state = 'active'` })
@Index('uq_signing_key_published', ['purpose'], { unique: true, where: `state = 'published'` })
export class SigningKey {
  /** RFC 7638 thumbprint of the public key. */
  @PrimaryColumn('text', { primaryKeyConstraintName: 'pk_signing_key' })
  kid!: string;

  /** The id by which the audit trail names the key. */
  @Generated('uuid')
  @Column('uuid')
  id!: string;

  @Column('text')
  purpose!: SigningKeyPurpose;

  @Column('text')
  state!: SigningKeyState;

  @Column('jsonb', { name: 'public_jwk' })
  publicJwk!: Record<string, string>;

  /** PKCS #8, encrypted with the key encryption key. */
  @Column('bytea', { name: 'private_key', select: false })
  privateKey!: Buffer;

  @CreateDateColumn({ type: 'timestamptz', precision: 3, name: 'created_at' })
  createdAt!: Date;

  @Column({ type: 'timestamptz', precision: 3, name: 'activated_at', nullable: true })
  activatedAt!: Date | null;

  /** When the last token that a retiring key may have signed expires. */
  @Column({ type: 'timestamptz', precision: 3, name: 'verifies_until', nullable: true })
  verifiesUntil!: Date | null;

  @Column({ type: 'timestamptz', precision: 3, name: 'revoked_at', nullable: true })
  revokedAt!: Date | null;
}
