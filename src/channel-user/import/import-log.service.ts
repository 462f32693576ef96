import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { randomUUID } from 'node:crypto';
import { type EntityManager, Repository } from 'typeorm';
import { AuditService } from '../../audit/audit.service.ts';
import { Scheduler } from '../../platform/common/scheduler.ts';
import type { Actor } from '../../platform/common/principal.ts';
import type { ImportDto } from './import.dto.ts';
import { ChannelUserImport, type ImportState } from './import.entity.ts';
import {
  ImportEndedError,
  ImportIdTakenError,
  ImportInterruptedError,
  ImportNotFoundError,
  ImportOverError,
  ImportRunningError,
  type RunningImport,
} from './import.errors.ts';
import type { Format } from './import-file.ts';
import { clear } from './staging.ts';

const LISTED = 50;
const SWEEP_MS = 60_000;
/** An import without a heartbeat for this long counts as dead, because its instance has ended. */
const ALIVE = `interval '30 seconds'`;

export interface ImportOptions {
  readonly id?: string | undefined;
  readonly format: Format;
  readonly dryRun: boolean;
  readonly partial: boolean;
  /** Creates a link for each generated password instead of showing the password. */
  readonly links?: { readonly ttlSeconds: number | undefined } | undefined;
  /** How many milliseconds the upload may take. */
  readonly maxReadMs?: number;
  /** Called with each heartbeat. Throws an AppError below 500 when the person who began the import may not go on. */
  readonly confirm?: (() => Promise<void>) | undefined;
}

/** Progress of an import, in rows. */
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

/** A heartbeat. Goes on while the answer is sent, when the import is no longer running and its counts stay. */
const BEAT = `
  UPDATE channel_user_import SET heartbeat_at = now(),
    rows = CASE state WHEN 'running' THEN $2 ELSE rows END,
    created = CASE state WHEN 'running' THEN $3 ELSE created END,
    failed = CASE state WHEN 'running' THEN $4 ELSE failed END
  WHERE id = $1 AND state NOT IN ('interrupted', 'ended')`;

const FINISH = `
  UPDATE channel_user_import SET state = $2, rows = $3, created = $4, failed = $5, file_sha256 = $6,
    heartbeat_at = now(), finished_at = now()
  WHERE id = $1 AND state = 'running'`;

const END = `
  UPDATE channel_user_import SET state = 'ended', finished_at = now() WHERE id = $1 AND state = 'running'`;

/** The running import, and when it counts as dead without a further heartbeat. */
const RUNNING = `
  SELECT id, started_at AS "startedAt", heartbeat_at AS "lastHeardAt", heartbeat_at + ${ALIVE} AS "freeAt",
    GREATEST(1, ceil(extract(epoch FROM heartbeat_at + ${ALIVE} - now())))::int AS seconds
  FROM channel_user_import WHERE state = 'running'`;

/**
 * Ended imports that left staged rows behind; dead ones were ended before. Steps through the index from one import to
 * the next, so that a start does not read every staged row.
 */
const LEFT_BEHIND = `
  WITH RECURSIVE staged AS (
    (SELECT import_id AS id FROM channel_user_import_row ORDER BY import_id LIMIT 1)
    UNION ALL
    SELECT (
      SELECT import_id FROM channel_user_import_row WHERE import_id > staged.id ORDER BY import_id LIMIT 1)
    FROM staged WHERE staged.id IS NOT NULL
  )
  SELECT staged.id FROM staged LEFT JOIN channel_user_import AS import ON import.id = staged.id
  WHERE staged.id IS NOT NULL
    AND (import.id IS NULL OR (import.state <> 'running' AND import.heartbeat_at < now() - ${ALIVE}))`;

const IMPORTS = `
  SELECT import.id,
    CASE WHEN import.state = 'running' AND import.heartbeat_at < now() - ${ALIVE} THEN 'interrupted'
      ELSE import.state END AS state,
    import.format, import.dry_run AS "dryRun", import.partial, import.rows, import.created, import.failed,
    import.file_sha256 AS "fileSha256",
    json_build_object('type', import.actor_type, 'id', import.actor_id, 'name',
      CASE import.actor_type WHEN 'staff' THEN staff.name WHEN 'service-account' THEN service_account.name
        ELSE import.actor_type END) AS by,
    import.started_at AS "startedAt", import.finished_at AS "finishedAt"
  FROM channel_user_import AS import LEFT JOIN staff ON staff.id = import.actor_id
    LEFT JOIN service_account ON service_account.id = import.actor_id`;

/**
 * Records the imports. Also makes sure that only one runs at a time, ends the import of an instance that has died, and
 * deletes staged rows that were left behind.
 */
@Injectable()
export class ImportLog implements OnApplicationBootstrap {
  constructor(
    @InjectRepository(ChannelUserImport) private readonly imports: Repository<ChannelUserImport>,
    private readonly audit: AuditService,
    private readonly scheduler: Scheduler,
  ) {}

  get #manager(): EntityManager {
    return this.imports.manager;
  }

  onApplicationBootstrap(): void {
    this.scheduler.schedule({
      name: 'Cleaning up after imports',
      everyMs: SWEEP_MS,
      firstAfterMs: 0,
      run: () => this.sweep(),
    });
  }

  /**
   * Records the start of an import.
   *
   * Records the start of an import.
   *
   * @returns its id
   * @throws ImportRunningError, ImportIdTakenError
   */
  async begin({ id = randomUUID(), format, dryRun, partial }: ImportOptions, actor: Actor): Promise<string> {
    for (;;) {
      await this.#manager.query(END_DEAD);
      const begun = await this.#manager.query<unknown[]>(BEGIN, [id, format, dryRun, partial, actor.type, actor.id]);
      if (begun.length === 1) return id;
      if (await this.imports.existsBy({ id })) throw new ImportIdTakenError();
      const [running] = await this.#manager.query<RunningImport[]>(RUNNING);
      if (running) throw new ImportRunningError(running);
      // The other import has ended in the meantime: tries again.
    }
  }

  /**
   * Ends a running import on any instance. Nothing of it is imported, and the next import may begin.
   *
   * @throws ImportNotFoundError, ImportOverError
   */
  async end(id: string, actor: Actor): Promise<void> {
    await this.audit.transaction(async (manager) => {
      const [, affected] = await manager.query<[unknown, number]>(END, [id]);
      if (affected !== 1) throw new ImportOverError((await this.get(id)).state);
      const target = { type: 'import', id, name: 'import' } as const;
      this.audit.record(manager, { actor, action: 'channel-users.import-ended', target });
    });
  }

  /**
   * Records a heartbeat and the progress.
   *
   * @throws ImportEndedError, ImportInterruptedError when an admin ended the import or an instance took it for dead
   */
  async beat(id: string, { rows, created, failed }: ImportCounts): Promise<void> {
    const [, affected] = await this.#manager.query<[unknown, number]>(BEAT, [id, rows, created, failed]);
    if (affected !== 1) throw await this.#whyOver(id);
  }

  /**
   * Records the end of an import.
   *
   * @param manager manager of the transaction that the end belongs to, if there is one
   * @throws ImportEndedError, ImportInterruptedError when an admin ended the import or an instance took it for dead
   */
  async finish(
    id: string,
    state: ImportState,
    { rows, created, failed, fileSha256 }: ImportCounts & { fileSha256: string | null },
    manager = this.#manager,
  ): Promise<void> {
    const values = [id, state, rows, created, failed, fileSha256];
    const [, affected] = await manager.query<[unknown, number]>(FINISH, values);
    if (affected !== 1) throw await this.#whyOver(id);
  }

  /** @returns whether the accounts of an import exist; `undefined` when the database does not answer */
  async isImported(id: string): Promise<boolean | undefined> {
    return this.get(id).then(
      ({ state }) => state === 'imported',
      () => undefined,
    );
  }

  async #whyOver(id: string): Promise<Error> {
    const { state } = await this.get(id);
    return state === 'ended' ? new ImportEndedError() : new ImportInterruptedError(id, state !== 'imported');
  }

  /** @throws ImportNotFoundError */
  async get(id: string): Promise<ImportDto> {
    const [found] = await this.#manager.query<ImportDto[]>(`${IMPORTS} WHERE import.id = $1`, [id]);
    if (!found) throw new ImportNotFoundError();
    return found;
  }

  /** The most recent imports, newest first. */
  list(): Promise<ImportDto[]> {
    return this.#manager.query(`${IMPORTS} ORDER BY import.started_at DESC, import.id DESC LIMIT ${String(LISTED)}`);
  }

  /** Ends imports whose instance has died, and deletes staged rows that ended imports left behind. */
  async sweep(): Promise<void> {
    await this.#manager.query(END_DEAD);
    const leftBehind = await this.#manager.query<{ id: string }[]>(LEFT_BEHIND);
    for (const { id } of leftBehind) await clear(this.#manager, id);
  }
}
