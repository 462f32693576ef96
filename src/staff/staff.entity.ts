import { Check, Column, CreateDateColumn, Entity, Index, PrimaryGeneratedColumn } from 'typeorm';
import type { Role } from '../platform/common/principal.ts';

/** A staff member, who provisions partners. */
@Entity('staff')
@Check('ck_staff_role', `role IN ('viewer', 'operator', 'admin')`)
@Check(
  'ck_staff_second_factor',
  '(second_factor_at IS NULL) = (totp_secret IS NULL) AND (second_factor_at IS NULL) = (last_totp_step IS NULL)',
)
@Check('ck_staff_identity', '(oidc_issuer IS NULL) = (oidc_subject IS NULL)')
@Check('ck_staff_break_glass', 'NOT break_glass OR oidc_subject IS NULL')
@Index('uq_staff_email', ['emailKey'], { unique: true })
@Index('uq_staff_identity', ['oidcIssuer', 'oidcSubject'], { unique: true })
export class Staff {
  @PrimaryGeneratedColumn('uuid', { primaryKeyConstraintName: 'pk_staff' })
  id!: string;

  @Column('text')
  email!: string;

  /** The e-mail address in lower case, for uniqueness and lookup. */
  @Column('text', { name: 'email_key' })
  emailKey!: string;

  @Column('text')
  name!: string;

  @Column('text')
  role!: Role;

  /** argon2id, in PHC string form. Nobody knows the password of a person who signs in at the identity provider. */
  @Column('text', { name: 'password_hash', select: false })
  passwordHash!: string;

  /** The issuer of the identity with which the person signs in at the identity provider; null with a password. */
  @Column('text', { name: 'oidc_issuer', nullable: true })
  oidcIssuer!: string | null;

  /** The `sub` of that identity. */
  @Column('text', { name: 'oidc_subject', nullable: true })
  oidcSubject!: string | null;

  /** Whether this admin may sign in with a password even if all others need the identity provider. */
  @Column('boolean', { name: 'break_glass', default: false })
  breakGlass!: boolean;

  @CreateDateColumn({ type: 'timestamptz', precision: 3, name: 'created_at' })
  createdAt!: Date;

  @Column({ type: 'timestamptz', precision: 3, name: 'last_sign_in_at', nullable: true })
  lastSignInAt!: Date | null;

  /** Since when signing in takes a second factor; null without one. */
  @Column({ type: 'timestamptz', precision: 3, name: 'second_factor_at', nullable: true })
  secondFactorAt!: Date | null;

  /** The TOTP secret in base32, encrypted under the key encryption key. */
  @Column('bytea', { name: 'totp_secret', nullable: true, select: false })
  totpSecret!: Buffer | null;

  /** The next TOTP secret in the same form, until a code confirms that an authenticator has it. */
  @Column('bytea', { name: 'pending_totp_secret', nullable: true, select: false })
  pendingTotpSecret!: Buffer | null;

  /** Time step of the newest used code. Codes of this step and of earlier ones are refused. */
  @Column('integer', { name: 'last_totp_step', nullable: true, select: false })
  lastTotpStep!: number | null;

  /** Codes tried since the last sign-in with the second factor. */
  @Column('integer', { name: 'totp_attempts', default: 0, select: false })
  totpAttempts!: number;
}

/** The values of the columns without a second factor. */
export const NO_SECOND_FACTOR = {
  secondFactorAt: null,
  totpSecret: null,
  pendingTotpSecret: null,
  lastTotpStep: null,
  totpAttempts: 0,
} as const satisfies Partial<Staff>;
