import { Check, Column, Entity, PrimaryColumn } from 'typeorm';

/** State of the embedded quickstart: one row. A database of the operator's own has none. */
@Entity('quickstart')
@Check('ck_quickstart_one_row', 'id')
export class Quickstart {
  @PrimaryColumn('boolean', { default: true, primaryKeyConstraintName: 'pk_quickstart' })
  id!: boolean;

  /** The `iss` of every token, even if a later start listens on another port. */
  @Column('text')
  issuer!: string;

  /** When the secrets of the first admin and the demo partner were shown; null until then. */
  @Column({ type: 'timestamptz', precision: 3, name: 'provisioned_at', nullable: true })
  provisionedAt!: Date | null;
}
