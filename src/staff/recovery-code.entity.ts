import { Entity, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { Staff } from './staff.entity.ts';

/** Signs in once in place of the authenticator; the row goes with its use. */
@Entity('recovery_code')
export class RecoveryCode {
  @PrimaryColumn('uuid', { name: 'staff_id', primaryKeyConstraintName: 'pk_recovery_code' })
  staffId!: string;

  @ManyToOne(() => Staff, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'staff_id', foreignKeyConstraintName: 'fk_recovery_code_staff' })
  staff?: Relation<Staff>;

  /** `$sha256$` and the hash. */
  @PrimaryColumn('text', { name: 'code_hash', primaryKeyConstraintName: 'pk_recovery_code' })
  codeHash!: string;
}
