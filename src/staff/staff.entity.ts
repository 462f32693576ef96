import { Check, Column, CreateDateColumn, Entity, Index, PrimaryGeneratedColumn } from 'typeorm';
import type { Role } from '../common/request-context.ts';

/** Somebody who provisions partners. */
@Entity('staff')
@Check('ck_staff_role', `role IN ('viewer', 'operator', 'admin')`)
@Index('uq_staff_email', ['emailKey'], { unique: true })
export class Staff {
  @PrimaryGeneratedColumn('uuid', { primaryKeyConstraintName: 'pk_staff' })
  id!: string;

  @Column('text')
  email!: string;

  /** In lower case: what makes it unique and finds it. */
  @Column('text', { name: 'email_key' })
  emailKey!: string;

  @Column('text')
  name!: string;

  @Column('text')
  role!: Role;

  /** argon2id, in PHC string form. */
  @Column('text', { name: 'password_hash', select: false })
  passwordHash!: string;

  @CreateDateColumn({ type: 'timestamptz', precision: 3, name: 'created_at' })
  createdAt!: Date;

  @Column({ type: 'timestamptz', precision: 3, name: 'last_sign_in_at', nullable: true })
  lastSignInAt!: Date | null;
}
