import { Check, Column, CreateDateColumn, Entity, PrimaryColumn } from 'typeorm';

/** Where notices are sent. */
@Entity('webhook')
@Check('ck_webhook_previous', '(sealed_previous_secret IS NULL) = (previous_secret_until IS NULL)')
export class Webhook {
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'pk_webhook' })
  id!: string;

  @Column('text')
  url!: string;

  @Column('text', { nullable: true })
  description!: string | null;

  /** Types of notices; none: all of them. */
  @Column('text', { array: true })
  events!: string[];

  @Column('boolean')
  enabled!: boolean;

  /** `gone`: the receiver said so (410). `null`: staff disabled it, or nobody did. */
  @Column('text', { name: 'disabled_reason', nullable: true })
  disabledReason!: string | null;

  /** What signs, encrypted under the key encryption key. */
  @Column('bytea', { name: 'sealed_secret' })
  sealedSecret!: Buffer;

  /** Signs beside the newer one until {@link previousSecretUntil}. */
  @Column('bytea', { name: 'sealed_previous_secret', nullable: true })
  sealedPreviousSecret!: Buffer | null;

  @Column({ type: 'timestamptz', precision: 3, name: 'previous_secret_until', nullable: true })
  previousSecretUntil!: Date | null;

  @CreateDateColumn({ type: 'timestamptz', precision: 3, name: 'created_at' })
  createdAt!: Date;

  @Column({ type: 'timestamptz', precision: 3, name: 'updated_at' })
  updatedAt!: Date;
}
