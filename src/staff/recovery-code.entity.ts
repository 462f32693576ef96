import { Entity, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { Staff } from './staff.entity.ts';

/** A code that signs in once in place of the authenticator. Using it deletes the row. */
@Entity('recovery_code')
export class RecoveryCode {
  @PrimaryColumn('uuid', { name: 'staff_id', primaryKeyConstraintName: 'pk_recovery_code' })
  staffId!: string;

  @ManyToOne(() => Staff, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'staff_id', foreignKeyConstraintName: 'fk_recovery_code_staff' })
  staff?: Relation<Staff>;

  /** `$sha256$` and the code's SHA-256 in base64url. */
  @PrimaryColumn('text', { name: 'code_hash', primaryKeyConstraintName: 'pk_recovery_code' })
  codeHash!: string;
}
