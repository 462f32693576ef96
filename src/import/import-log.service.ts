import { Injectable, Logger, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { randomUUID } from 'node:crypto';
import { type EntityManager, Repository } from 'typeorm';
import { every } from '../common/every.ts';
import { Lifecycle } from '../common/lifecycle.ts';
import { UnavailableError } from '../common/errors.ts';
import type { Actor } from '../common/request-context.ts';
import type { ImportDto } from './import.dto.ts';
import { ChannelUserImport, type ImportState } from './import.entity.ts';
import { ImportIdTakenError, ImportNotFoundError, ImportRunningError } from './import.errors.ts';
import type { Format } from './import-file.ts';
import { clear } from './staging.ts';

const LISTED = 50;
const SWEEP_MS = 60_000;
/** An import that says nothing for so long has lost its instance. */
const ALIVE = `interval '30 seconds'`;

export interface ImportOptions {
  readonly id?: string | undefined;
  readonly format: Format;
  readonly dryRun: boolean;
  readonly partial: boolean;
}

/** How far an import is. */
export interface ImportCounts {
  readonly rows: number;
  readonly created: number;
  readonly failed: number;
}

const END_DEAD = `
  UPDATE channel_user_import SET state = 'interrupted', finished_at = now()
  WHERE state = 'running' AND heartbeat_at < now() - ${ALIVE}`;

const BEGIN = `
  INSERT INTO channel_user_import (id, state, format, dry_run, partial, actor_type, actor_id)
  VALUES ($1, 'running', $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING id`;

/** Also while the answer leaves, when it is no longer running. */
const BEAT = `
  UPDATE channel_user_import SET heartbeat_at = now(),
    rows = CASE state WHEN 'running' THEN $2 ELSE rows END,
    created = CASE state WHEN 'running' THEN $3 ELSE created END,
    failed = CASE state WHEN 'running' THEN $4 ELSE failed END
  WHERE id = $1 AND state <> 'interrupted'`;

const FINISH = `
  UPDATE channel_user_import SET state = $2, rows = $3, created = $4, failed = $5, file_sha256 = $6,
    heartbeat_at = now(), finished_at = now()
  WHERE id = $1 AND state = 'running'`;

/** The imports that left rows behind and are over; a running one was ended before if it was dead. */
const LEFT_BEHIND = `
  SELECT DISTINCT staged.import_id AS id FROM channel_user_import_row AS staged
  LEFT JOIN channel_user_import AS import ON import.id = staged.import_id
  WHERE import.id IS NULL OR (import.state <> 'running' AND import.heartbeat_at < now() - ${ALIVE})`;

const IMPORTS = `
  SELECT import.id,
    CASE WHEN import.state = 'running' AND import.heartbeat_at < now() - ${ALIVE} THEN 'interrupted'
      ELSE import.state END AS state,
    import.format, import.dry_run AS "dryRun", import.partial, import.rows, import.created, import.failed,
    import.file_sha256 AS "fileSha256",
    json_build_object('type', import.actor_type, 'id', import.actor_id, 'name',
      CASE import.actor_type WHEN 'staff' THEN staff.name ELSE import.actor_type END) AS by,
    import.started_at AS "startedAt", import.finished_at AS "finishedAt"
  FROM channel_user_import AS import LEFT JOIN staff ON staff.id = import.actor_id`;

/**
 * What everybody may know about the imports. It also sees to it that there is one at a time, that the one of an instance
 * that has gone does not count, and that nothing stays staged.
 */
@Injectable()
export class ImportLog implements OnApplicationBootstrap, OnModuleDestroy {
  readonly #logger = new Logger(ImportLog.name);
  #timer: NodeJS.Timeout | undefined;

  constructor(
    @InjectRepository(ChannelUserImport) private readonly imports: Repository<ChannelUserImport>,
    private readonly lifecycle: Lifecycle,
  ) {}

  get #manager(): EntityManager {
    return this.imports.manager;
  }

  onApplicationBootstrap(): void {
    if (!this.lifecycle.doesBackgroundWork) return;
    const failed = (reason: string): void => {
      this.#logger.warn(`What imports left behind was not cleaned up: ${reason}`);
    };
    this.#timer = every(SWEEP_MS, () => this.sweep(), failed);
    this.sweep().catch((error: unknown) => {
      failed((error as Error).message);
    });
  }

  onModuleDestroy(): void {
    clearInterval(this.#timer);
  }

  /**
   * @returns its id
   * @throws ImportRunningError, ImportIdTakenError
   */
  async begin({ id = randomUUID(), format, dryRun, partial }: ImportOptions, actor: Actor): Promise<string> {
    await this.#manager.query(END_DEAD);
    const begun = await this.#manager.query<unknown[]>(BEGIN, [id, format, dryRun, partial, actor.type, actor.id]);
    if (begun.length === 1) return id;
    throw (await this.imports.existsBy({ id })) ? new ImportIdTakenError() : new ImportRunningError();
  }

  /** @returns whether the import may go on: others may have taken it for dead */
  async beat(id: string, { rows, created, failed }: ImportCounts): Promise<boolean> {
    const [, affected] = await this.#manager.query<[unknown, number]>(BEAT, [id, rows, created, failed]);
    return affected === 1;
  }

  /**
   * @param manager of the transaction that the end belongs to, if there is one
   * @throws UnavailableError when it was taken for dead
   */
  async finish(
    id: string,
    state: ImportState,
    { rows, created, failed, fileSha256 }: ImportCounts & { fileSha256: string | null },
    manager = this.#manager,
  ): Promise<void> {
    const values = [id, state, rows, created, failed, fileSha256];
    const [, affected] = await manager.query<[unknown, number]>(FINISH, values);
    if (affected !== 1) throw new UnavailableError(new Error('The import was taken for dead'));
  }

  /** @throws ImportNotFoundError */
  async get(id: string): Promise<ImportDto> {
    const [found] = await this.#manager.query<ImportDto[]>(`${IMPORTS} WHERE import.id = $1`, [id]);
    if (!found) throw new ImportNotFoundError();
    return found;
  }

  /** The last ones, newest first. */
  list(): Promise<ImportDto[]> {
    return this.#manager.query(`${IMPORTS} ORDER BY import.started_at DESC, import.id DESC LIMIT ${String(LISTED)}`);
  }

  /** Ends imports whose instance has gone, and deletes what imports have left staged. */
  async sweep(): Promise<void> {
    await this.#manager.query(END_DEAD);
    const leftBehind = await this.#manager.query<{ id: string }[]>(LEFT_BEHIND);
    for (const { id } of leftBehind) await clear(this.#manager, id);
  }
}
