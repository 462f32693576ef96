import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

export const IMPORT_STATES = ['running', 'imported', 'checked', 'refused', 'interrupted'] as const;
export type ImportState = (typeof IMPORT_STATES)[number];

/** One import and how far it is. Written outside of the import's own transaction, so that others see it. */
@Entity('channel_user_import')
@Index('uq_channel_user_import_running', ['state'], { unique: true, where: `state = 'running'` })
@Index('ix_channel_user_import_started_at', ['startedAt', 'id'])
export class ChannelUserImport {
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'pk_channel_user_import' })
  id!: string;

  @Column('text')
  state!: ImportState;

  @Column('text')
  format!: string;

  @Column('boolean', { name: 'dry_run' })
  dryRun!: boolean;

  @Column('boolean')
  partial!: boolean;

  /** Rows that were read so far. */
  @Column('integer', { default: 0 })
  rows!: number;

  @Column('integer', { default: 0 })
  created!: number;

  @Column('integer', { default: 0 })
  failed!: number;

  /** Of the whole file; `null` until it was read. */
  @Column('text', { name: 'file_sha256', nullable: true })
  fileSha256!: string | null;

  @Column('text', { name: 'actor_type' })
  actorType!: string;

  @Column('uuid', { name: 'actor_id', nullable: true })
  actorId!: string | null;

  @Column({ type: 'timestamptz', precision: 3, name: 'started_at', default: () => 'now()' })
  startedAt!: Date;

  /** When the instance that imports was last known to be alive. */
  @Column({ type: 'timestamptz', precision: 3, name: 'heartbeat_at', default: () => 'now()' })
  heartbeatAt!: Date;

  @Column({ type: 'timestamptz', precision: 3, name: 'finished_at', nullable: true })
  finishedAt!: Date | null;
}

/** A row that was checked and waits for the rest of its file. Holds hashes, as the accounts themselves do. */
@Entity('channel_user_import_row')
@Index('uq_channel_user_import_row_username', ['importId', 'usernameKey'], { unique: true })
export class ChannelUserImportRow {
  @PrimaryColumn('uuid', { name: 'import_id', primaryKeyConstraintName: 'pk_channel_user_import_row' })
  importId!: string;

  /** As a person counts them. */
  @PrimaryColumn('integer', { name: 'row_number', primaryKeyConstraintName: 'pk_channel_user_import_row' })
  row!: number;

  @Column({ type: 'text', name: 'username_key', collation: 'C' })
  usernameKey!: string;

  /** The row of `channel_user`, by the names of its columns. */
  @Column('jsonb')
  account!: Record<string, unknown>;

  @Column('text', { name: 'secret_hash' })
  secretHash!: string;

  /** Of a generated password. */
  @Column('text', { nullable: true })
  fingerprint!: string | null;
}
