import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

export const IMPORT_STATES = ['running', 'imported', 'checked', 'refused', 'interrupted', 'ended'] as const;
export type ImportState = (typeof IMPORT_STATES)[number];

/** An import and its progress. Written outside of the import's own transaction, so that others see the progress. */
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

  /** Rows read so far. */
  @Column('integer', { default: 0 })
  rows!: number;

  @Column('integer', { default: 0 })
  created!: number;

  @Column('integer', { default: 0 })
  failed!: number;

  /** SHA-256 of the whole file; `null` until the file was read. */
  @Column('text', { name: 'file_sha256', nullable: true })
  fileSha256!: string | null;

  @Column('text', { name: 'actor_type' })
  actorType!: string;

  @Column('uuid', { name: 'actor_id', nullable: true })
  actorId!: string | null;

  @Column({ type: 'timestamptz', precision: 3, name: 'started_at', default: () => 'now()' })
  startedAt!: Date;

  /** Last heartbeat of the importing instance. */
  @Column({ type: 'timestamptz', precision: 3, name: 'heartbeat_at', default: () => 'now()' })
  heartbeatAt!: Date;

  @Column({ type: 'timestamptz', precision: 3, name: 'finished_at', nullable: true })
  finishedAt!: Date | null;
}

/** A checked row that waits for the rest of its file. Holds only hashes of passwords, like the accounts. */
@Entity('channel_user_import_row')
@Index('uq_channel_user_import_row_username', ['importId', 'usernameKey'], { unique: true })
export class ChannelUserImportRow {
  @PrimaryColumn('uuid', { name: 'import_id', primaryKeyConstraintName: 'pk_channel_user_import_row' })
  importId!: string;

  /** Number of the row in the file, as a spreadsheet counts. */
  @PrimaryColumn('integer', { name: 'row_number', primaryKeyConstraintName: 'pk_channel_user_import_row' })
  row!: number;

  @Column({ type: 'text', name: 'username_key', collation: 'C' })
  usernameKey!: string;

  /** The row for `channel_user`, by column name. */
  @Column('jsonb')
  account!: Record<string, unknown>;

  @Column('text', { name: 'secret_hash' })
  secretHash!: string;

  /** Fingerprint of a generated password. */
  @Column('text', { nullable: true })
  fingerprint!: string | null;
}
