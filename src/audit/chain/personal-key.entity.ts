import { Column, CreateDateColumn, Entity, PrimaryColumn } from 'typeorm';

/** Encrypts what the audit trail says about one person or partner. Deleting the row makes those parts unreadable. */
@Entity('personal_key')
export class PersonalKey {
  @PrimaryColumn('uuid', { name: 'subject_id', primaryKeyConstraintName: 'pk_personal_key' })
  subjectId!: string;

  /** 32 bytes, encrypted under the key encryption key. */
  @Column('bytea', { name: 'wrapped_key' })
  wrappedKey!: Buffer;

  @CreateDateColumn({ type: 'timestamptz', precision: 3, name: 'created_at' })
  createdAt!: Date;
}
