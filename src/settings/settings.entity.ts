import { Check, Column, Entity, PrimaryColumn } from 'typeorm';

/** What admins decide for the whole deployment while it runs: one row, made by the migration. */
@Entity('settings')
@Check('ck_settings_one_row', 'id')
export class Settings {
  @PrimaryColumn('boolean', { default: true, primaryKeyConstraintName: 'pk_settings' })
  id!: boolean;

  @Column('boolean', { name: 'second_factor_required', default: false })
  secondFactorRequired!: boolean;
}
