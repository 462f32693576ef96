import { Injectable, Logger, type OnApplicationShutdown, type OnModuleDestroy } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { AuditService } from '../audit/audit.service.ts';
import { ChannelUserService } from '../channel-user/channel-user.service.ts';
import { PasswordService } from '../channel-user/password.service.ts';
import { AppError, UnavailableError } from '../common/errors.ts';
import type { Actor } from '../common/request-context.ts';
import type { ImportSummaryDto } from './import.dto.ts';
import { ImportLog, type ImportOptions } from './import-log.service.ts';
import { ImportRun, type IssuedCredential } from './import-run.ts';

const HEARTBEAT_MS = 1_000;

/** An import that is over, and what is left to tell of it. */
export interface FinishedImport {
  readonly summary: ImportSummaryDto;
  /** The generated passwords, by row: this once. */
  credentials(): AsyncGenerator<IssuedCredential>;
  /** To be called when they were read, or never will be. */
  release(): Promise<void>;
}

interface RunningImport {
  readonly ending: AbortController;
  readonly done: Promise<unknown>;
  isMoving: boolean;
}

/** Brings the partners of an older system over. */
@Injectable()
export class ImportService implements OnModuleDestroy, OnApplicationShutdown {
  readonly #logger = new Logger(ImportService.name);
  readonly #running = new Set<RunningImport>();

  constructor(
    private readonly dataSource: DataSource,
    private readonly audit: AuditService,
    private readonly channelUsers: ChannelUserService,
    private readonly passwords: PasswordService,
    private readonly log: ImportLog,
  ) {}

  /** What is still being sent is not waited for: its sender tries again. */
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
   * @param signal ends it as long as nothing is imported
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
    const { audit, channelUsers, passwords, log } = this;
    const services = { manager: this.dataSource.manager, audit, channelUsers, passwords, log };
    const ends = AbortSignal.any([running.ending.signal, ...(signal ? [signal] : [])]);
    const run = new ImportRun(id, services, options, actor, ends);
    const heart = new Heart(async () => {
      if (!(await this.log.beat(id, run))) running.ending.abort(new UnavailableError());
    });
    const release = async (): Promise<void> => {
      heart.stop();
      // The sweep does it when this cannot.
      await run.forget().catch((error: unknown) => {
        this.#logger.warn(`What an import staged was not deleted: ${(error as Error).message}`);
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
      run.created = 0;
      // When it cannot be written down now, the silence will tell.
      await this.log.finish(id, stateAfter(error), run).catch(() => undefined);
      await release();
      throw error;
    }
  }
}

const stateAfter = (error: unknown): 'refused' | 'interrupted' =>
  error instanceof AppError && error.status < 500 && error.status !== 408 ? 'refused' : 'interrupted';

/** Beats until it is stopped; what fails is tried again. */
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

  /** For a statement on the same row. Resolves when the last beat is over. */
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
