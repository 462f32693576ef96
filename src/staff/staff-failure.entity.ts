import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { Staff } from './staff.entity.ts';

export const STAFF_FAILURE_REASONS = ['wrong_password', 'wrong_code'] as const;
export type StaffFailureReason = (typeof STAFF_FAILURE_REASONS)[number];

/** One row counts all failed sign-ins to one account, in one hour and for one reason. */
@Entity('staff_sign_in_failure')
@Index('ix_staff_sign_in_failure_hour', ['hour'])
export class StaffFailure {
  @PrimaryColumn('uuid', { name: 'staff_id', primaryKeyConstraintName: 'pk_staff_sign_in_failure' })
  staffId!: string;

  @ManyToOne(() => Staff, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'staff_id', foreignKeyConstraintName: 'fk_staff_sign_in_failure_staff' })
  staff?: Relation<Staff>;

  @PrimaryColumn({
    type: 'timestamptz',
    precision: 3,
    primaryKeyConstraintName: 'pk_staff_sign_in_failure',
  })
  hour!: Date;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'pk_staff_sign_in_failure' })
  reason!: StaffFailureReason;

  @Column('integer')
  count!: number;

  @Column({ type: 'timestamptz', precision: 3, name: 'last_at' })
  lastAt!: Date;

  /** Address of the last failed sign-in. */
  @Column('text', { name: 'last_address', nullable: true })
  lastAddress!: string | null;
}
