import { Check, Column, Entity, PrimaryColumn } from 'typeorm';

export const LOCAL_SIGN_INS = ['everybody', 'break-glass'] as const;
/** Who may sign in with a password: everybody who has one, or only break-glass admins. */
export type LocalSignIn = (typeof LOCAL_SIGN_INS)[number];

/** Settings of the whole deployment that admins change at run time: one row, which the migration inserts. */
@Entity('settings')
@Check('ck_settings_one_row', 'id')
@Check('ck_settings_local_sign_in', `local_sign_in IN ('everybody', 'break-glass')`)
export class Settings {
  @PrimaryColumn('boolean', { default: true, primaryKeyConstraintName: 'pk_settings' })
  id!: boolean;

  @Column('boolean', { name: 'second_factor_required', default: false })
  secondFactorRequired!: boolean;

  @Column('text', { name: 'local_sign_in', default: 'everybody' })
  localSignIn!: LocalSignIn;
}
