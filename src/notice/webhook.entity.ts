import { Check, Column, CreateDateColumn, Entity, PrimaryColumn } from 'typeorm';

/** A URL that notices are sent to. */
@Entity('webhook')
@Check('ck_webhook_previous', '(sealed_previous_secret IS NULL) = (previous_secret_until IS NULL)')
export class Webhook {
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'pk_webhook' })
  id!: string;

  /** The origin if {@link sealedUrl} has the whole URL; otherwise the whole URL, as the previous version wrote it. */
  @Column('text')
  url!: string;

  /** The whole URL, encrypted under the key encryption key: its path or query is often the receiver's only secret. */
  @Column('bytea', { name: 'sealed_url', nullable: true })
  sealedUrl!: Buffer | null;

  @Column('text', { nullable: true })
  description!: string | null;

  /** Types of notices to send. Empty: all of them. */
  @Column('text', { array: true })
  events!: string[];

  @Column('boolean')
  enabled!: boolean;

  /** `gone`: the receiver answered 410. `null`: an admin disabled the webhook, or it is enabled. */
  @Column('text', { name: 'disabled_reason', nullable: true })
  disabledReason!: string | null;

  /** The secret that signs, encrypted under the key encryption key. */
  @Column('bytea', { name: 'sealed_secret' })
  sealedSecret!: Buffer;

  /** The previous secret, which also signs until {@link previousSecretUntil}. */
  @Column('bytea', { name: 'sealed_previous_secret', nullable: true })
  sealedPreviousSecret!: Buffer | null;

  @Column({ type: 'timestamptz', precision: 3, name: 'previous_secret_until', nullable: true })
  previousSecretUntil!: Date | null;

  @CreateDateColumn({ type: 'timestamptz', precision: 3, name: 'created_at' })
  createdAt!: Date;

  @Column({ type: 'timestamptz', precision: 3, name: 'updated_at' })
  updatedAt!: Date;
}
