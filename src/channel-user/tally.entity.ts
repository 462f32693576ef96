import { Column, Entity, PrimaryColumn } from 'typeorm';

/**
 * A change in the number of accounts, or of accounts with a scope. Triggers on `channel_user` insert these rows. Their
 * sum is the number.
 */
@Entity('channel_user_tally')
export class ChannelUserTally {
  /** PostgreSQL's bigint is a string in JavaScript. */
  @PrimaryColumn({
    type: 'bigint',
    generated: 'identity',
    generatedIdentity: 'ALWAYS',
    primaryKeyConstraintName: 'pk_channel_user_tally',
  })
  id!: string;

  /** The scope that was granted or withdrawn. `null` counts accounts. */
  @Column('text', { nullable: true })
  scope!: string | null;

  /** PostgreSQL's bigint is a string in JavaScript. */
  @Column('bigint')
  accounts!: string;
}
