import { Check, Column, Entity, PrimaryColumn } from 'typeorm';

/** What the embedded quickstart remembers from its first start: one row, and none on a database of your own. */
@Entity('quickstart')
@Check('ck_quickstart_one_row', 'id')
export class Quickstart {
  @PrimaryColumn('boolean', { default: true, primaryKeyConstraintName: 'pk_quickstart' })
  id!: boolean;

  /** The `iss` of every token, even when a later start listens elsewhere. */
  @Column('text')
  issuer!: string;

  /** When the first admin and the demo partner were created. */
  @Column({ type: 'timestamptz', precision: 3, name: 'provisioned_at', nullable: true })
  provisionedAt!: Date | null;
}
