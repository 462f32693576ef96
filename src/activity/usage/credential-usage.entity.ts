import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** The guarded calls with the tokens of one credential in one hour, as one instance counted them. */
@Entity('credential_usage')
@Index('ix_credential_usage_hour', ['hour'])
export class CredentialUsage {
  @PrimaryColumn('uuid', { name: 'credential_id', primaryKeyConstraintName: 'pk_credential_usage' })
  credentialId!: string;

  /** The hour's start. */
  @PrimaryColumn({ type: 'timestamptz', precision: 3, primaryKeyConstraintName: 'pk_credential_usage' })
  hour!: Date;

  /** A random id of the count in the memory of an instance. */
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'pk_credential_usage' })
  writer!: string;

  /** A bigint, so a string in JavaScript. */
  @Column('bigint')
  calls!: string;

  @Column({ type: 'timestamptz', precision: 3, name: 'last_at' })
  lastAt!: Date;
}
