import { Injectable, Logger, type OnApplicationShutdown, type OnModuleDestroy } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { AuditService } from '../../audit/audit.service.ts';
import { ChannelUserService } from '../channel-user.service.ts';
import { ImportedPasswordService } from '../account/imported-password.service.ts';
import { Clock } from '../../platform/common/clock.ts';
import { AppError, UnavailableError } from '../../platform/common/errors.ts';
import { postgresError } from '../../platform/common/postgres-errors.ts';
import type { Actor } from '../../platform/common/principal.ts';
import { HandoverService } from '../handover/handover.service.ts';
import type { ImportSummaryDto } from './import.dto.ts';
import { ImportInterruptedError, UploadTooLongError } from './import.errors.ts';
import { ImportLog, type ImportOptions } from './import-log.service.ts';
import { ImportRun, type IssuedCredential } from './import-run.ts';

const HEARTBEAT_MS = 1_000;
const MINUTE_MS = 60_000;

/** A finished import, whose passwords are still to be sent. */
export interface FinishedImport {
  readonly summary: ImportSummaryDto;
  /** The generated passwords in order of row. Can be read once. */
  credentials(): AsyncGenerator<IssuedCredential>;
  /** Must be called when the passwords were read, or will not be. */
  release(): Promise<void>;
}

interface RunningImport {
  readonly ending: AbortController;
  readonly done: Promise<unknown>;
  isMoving: boolean;
}

/** Imports the partners of an older system. */
@Injectable()
export class ImportService implements OnModuleDestroy, OnApplicationShutdown {
  readonly #logger = new Logger(ImportService.name);
  readonly #running = new Set<RunningImport>();

  constructor(
    private readonly dataSource: DataSource,
    private readonly audit: AuditService,
    private readonly channelUsers: ChannelUserService,
    private readonly passwords: ImportedPasswordService,
    private readonly handovers: HandoverService,
    private readonly log: ImportLog,
    private readonly clock: Clock,
  ) {}

  /** Aborts imports that are still being uploaded, since their senders can try again. */
  onModuleDestroy(): void {
    for (const { ending, isMoving } of this.#running) if (!isMoving) ending.abort(new UnavailableError());
  }

  async onApplicationShutdown(): Promise<void> {
    for (const { ending } of this.#running) ending.abort(new UnavailableError());
    await Promise.allSettled([...this.#running].map(({ done }) => done));
  }

  /**
   * Imports a file.
   *
   * @param bytes the file as it arrives
   * @param signal aborts the import while nothing is imported
   * @throws ImportRunningError, ImportIdTakenError, UnreadableFileError, ImportRefusedError
   */
  async run(
    bytes: AsyncIterable<Uint8Array>,
    options: ImportOptions,
    actor: Actor,
    signal?: AbortSignal,
  ): Promise<FinishedImport> {
    const id = await this.log.begin(options, actor);
    const done = Promise.withResolvers<undefined>();
    const running: RunningImport = { ending: new AbortController(), done: done.promise, isMoving: false };
    this.#running.add(running);
    const { audit, channelUsers, passwords, handovers, log } = this;
    const services = { manager: this.dataSource.manager, audit, channelUsers, passwords, handovers, log };
    const ends = AbortSignal.any([running.ending.signal, ...(signal ? [signal] : [])]);
    const run = new ImportRun(id, services, options, actor, ends);
    const heart = this.#heartOf(run, running, options);
    const release = async (): Promise<void> => {
      heart.stop();
      // After a failure, the sweep deletes the rows.
      await run.forget().catch((error: unknown) => {
        this.#logger.warn(`Deleting staged rows failed, the next cleanup deletes them: ${(error as Error).message}`);
      });
      this.#running.delete(running);
      done.resolve(undefined);
    };
    try {
      await run.read(bytes);
      if (options.dryRun) {
        await heart.pause();
        await this.log.finish(id, 'checked', run);
      } else {
        running.isMoving = true;
        await run.move(() => heart.pause());
      }
      heart.resume();
      return { summary: run.summary, credentials: () => run.credentials(), release };
    } catch (error) {
      await heart.pause();
      const failure = await this.#failureOf(error, id, running);
      if (!failure) {
        heart.resume();
        return { summary: run.summary, credentials: () => run.credentials(), release };
      }
      run.created = 0;
      // After a failure, the missing heartbeat ends the import.
      await this.log.finish(id, stateAfter(failure), run).catch(() => undefined);
      await release();
      throw failure;
    }
  }

  /** Begins the heartbeats of an import. They end the import when it takes too long, or when its sender may not go on. */
  #heartOf(run: ImportRun, running: RunningImport, { maxReadMs = Infinity, confirm }: ImportOptions): Heart {
    const startedAt = this.clock.now();
    return new Heart(async () => {
      if (!running.isMoving && this.clock.now() - startedAt > maxReadMs) {
        running.ending.abort(new UploadTooLongError(maxReadMs / MINUTE_MS));
      }
      await this.log.beat(run.id, run).catch((error: unknown) => {
        // After any other error, the next heartbeat tries again.
        if (error instanceof AppError) running.ending.abort(error);
      });
      await confirm?.().catch((error: unknown) => {
        if (!(error instanceof AppError) || error.status >= 500) return;
        running.ending.abort(error);
        run.withhold(error);
      });
    });
  }

  /** @returns undefined when the file was imported all the same: the connection may have ended after the commit */
  async #failureOf(error: unknown, id: string, { isMoving }: RunningImport): Promise<Error | undefined> {
    if (error instanceof AppError || !postgresError(error)) return error as Error;
    const isImported = isMoving ? await this.log.isImported(id) : false;
    return isImported === true ? undefined : new ImportInterruptedError(id, isImported === false, error);
  }
}

/** `refused` when the file is at fault, else `interrupted`. */
const stateAfter = (error: unknown): 'refused' | 'interrupted' =>
  error instanceof AppError && [400, 413].includes(error.status) ? 'refused' : 'interrupted';

/** Sends heartbeats until it is stopped. After a failure, the next heartbeat tries again. */
class Heart {
  #isPaused = false;
  #beat: Promise<unknown> | undefined;
  readonly #timer: NodeJS.Timeout;

  constructor(beat: () => Promise<void>) {
    this.#timer = setInterval(() => {
      if (this.#isPaused) return;
      this.#beat ??= beat()
        .catch(() => undefined)
        .finally(() => (this.#beat = undefined));
    }, HEARTBEAT_MS).unref();
  }

  /** Pauses for a statement on the same row. Resolves when the last heartbeat is over. */
  async pause(): Promise<void> {
    this.#isPaused = true;
    await this.#beat;
  }

  resume(): void {
    this.#isPaused = false;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
