import { Column, Entity, PrimaryColumn } from 'typeorm';

/** The sign-ins of an hour that one instance recorded. With a row each, instances do not wait for each other. */
@Entity('sign_in_hour')
export class SignInHour {
  /** The hour's start. */
  @PrimaryColumn({ type: 'timestamptz', precision: 3, primaryKeyConstraintName: 'pk_sign_in_hour' })
  hour!: Date;

  /** A random id of the instance that adds to the row; a new one after each start and each failed write. */
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'pk_sign_in_hour' })
  writer!: string;

  /** A bigint, so a string in JavaScript, like `refused`. */
  @Column('bigint')
  tokens!: string;

  @Column('bigint')
  refused!: string;
}
