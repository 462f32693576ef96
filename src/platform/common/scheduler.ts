import { Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';
import { Lifecycle } from './lifecycle.ts';

export interface PeriodicTask {
  /** What the task does, for the log, such as `Deleting expired revocations`. */
  readonly name: string;
  /** Milliseconds from the start of one run to the start of the next. */
  readonly everyMs: number;
  /** Milliseconds from the registration to the first run. `everyMs` by default. */
  readonly firstAfterMs?: number;
  readonly run: () => unknown;
}

/**
 * Runs a server's periodic tasks until it shuts down. A run that fails is logged, and the task runs again at its next
 * time. The timers do not keep the process alive.
 *
 * In a command, no task runs. Work that one instance at a time may do takes its own lock, because requests may also
 * start it, or because it takes the lock once a batch (see `ADVISORY_LOCKS`).
 */
@Injectable()
export class Scheduler implements OnModuleDestroy {
  readonly #logger = new Logger(Scheduler.name);
  readonly #timers: NodeJS.Timeout[] = [];
  #isStopping = false;

  constructor(private readonly lifecycle: Lifecycle) {}

  /** Registers a task. */
  schedule({ name, everyMs, firstAfterMs, run }: PeriodicTask): void {
    if (!this.lifecycle.doesBackgroundWork) return;
    const runOnce = async (): Promise<void> => {
      try {
        await run();
      } catch (error) {
        // A run that the shutdown interrupts is repeated after the next start.
        if (this.#isStopping) return;
        this.#logger.warn(`${name} failed, next attempt in ${lengthOf(everyMs)}: ${(error as Error).message}`);
      }
    };
    this.#timers.push(setInterval(() => void runOnce(), everyMs).unref());
    if (firstAfterMs !== undefined) this.#timers.push(setTimeout(() => void runOnce(), firstAfterMs).unref());
  }

  onModuleDestroy(): void {
    this.#isStopping = true;
    for (const timer of this.#timers) clearTimeout(timer);
  }
}

const lengthOf = (ms: number): string => (ms < 60_000 ? `${String(ms / 1_000)} s` : `${String(ms / 60_000)} min`);
