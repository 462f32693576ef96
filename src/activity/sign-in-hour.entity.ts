import { Column, Entity, PrimaryColumn } from 'typeorm';

/** How many sign-ins of an hour one instance recorded: each has a row of its own, so that none waits for another. */
@Entity('sign_in_hour')
export class SignInHour {
  /** Its start. */
  @PrimaryColumn({ type: 'timestamptz', precision: 3, primaryKeyConstraintName: 'pk_sign_in_hour' })
  hour!: Date;

  /** Names a run of an instance. */
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'pk_sign_in_hour' })
  writer!: string;

  /** Bigints, so strings here. */
  @Column('bigint')
  tokens!: string;

  @Column('bigint')
  refused!: string;
}
