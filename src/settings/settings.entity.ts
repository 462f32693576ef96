import { Check, Column, Entity, PrimaryColumn } from 'typeorm';

/** Settings of the whole deployment that admins change at run time: one row, which the migration inserts. */
@Entity('settings')
@Check('ck_settings_one_row', 'id')
export class Settings {
  @PrimaryColumn('boolean', { default: true, primaryKeyConstraintName: 'pk_settings' })
  id!: boolean;

  @Column('boolean', { name: 'second_factor_required', default: false })
  secondFactorRequired!: boolean;
}
