import { Logger } from '@nestjs/common';
import { type ExportResult, ExportResultCode } from '@opentelemetry/core';

interface Exporter<T> {
  export(items: T, done: (result: ExportResult) => void): void;
}

/** Tells once that nothing arrives at the collector, and once that it does again. */
export class Outage {
  readonly #logger = new Logger('Telemetry');
  #isTold = false;
  #isOver = false;

  /** Watches what becomes of each batch of an exporter. */
  watch<T, E extends Exporter<T>>(exporter: E): E {
    const send = exporter.export.bind(exporter);
    exporter.export = (items: T, done: (result: ExportResult) => void): void => {
      send(items, (result) => {
        this.#note(result);
        done(result);
      });
    };
    return exporter;
  }

  /** From now on there is nothing to tell. */
  end(): void {
    this.#isOver = true;
  }

  #note({ code, error }: ExportResult): void {
    const hasFailed = code === ExportResultCode.FAILED;
    if (hasFailed === this.#isTold || this.#isOver) return;
    this.#isTold = hasFailed;
    if (hasFailed) {
      this.#logger.warn(`Telemetry does not reach its collector (${reasonOf(error)}): what does not is dropped`);
    } else this.#logger.warn('Telemetry reaches its collector again');
  }
}

/** Errors of connections that were tried at several addresses have a code, but no message. */
function reasonOf(error: (Error & { code?: unknown }) | undefined): string {
  if (error === undefined) return 'no reason given';
  return error.message || String(error.code);
}
