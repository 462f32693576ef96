import { Logger } from '@nestjs/common';
import { type ExportResult, ExportResultCode } from '@opentelemetry/core';

interface Exporter<T> {
  export(items: T, done: (result: ExportResult) => void): void;
}

/** Logs once that the collector cannot be reached, and once that it can be reached again. */
export class Outage {
  readonly #logger = new Logger('Telemetry');
  #isDown = false;
  #hasEnded = false;

  /** Watches the result of each batch that an exporter sends. @returns the same exporter */
  watch<T, E extends Exporter<T>>(exporter: E): E {
    const send = exporter.export.bind(exporter);
    exporter.export = (items: T, done: (result: ExportResult) => void): void => {
      send(items, (result) => {
        this.#record(result);
        done(result);
      });
    };
    return exporter;
  }

  /** Stops logging: Latchkey is about to exit. */
  end(): void {
    this.#hasEnded = true;
  }

  #record({ code, error }: ExportResult): void {
    const hasFailed = code === ExportResultCode.FAILED;
    if (hasFailed === this.#isDown || this.#hasEnded) return;
    this.#isDown = hasFailed;
    if (hasFailed) {
      this.#logger.warn(`Sending telemetry failed (${reasonOf(error)}), dropping failed batches`);
    } else this.#logger.warn('Sending telemetry works again');
  }
}

/** The reason of a failure. The error of a connection tried at several addresses has a code, but no message. */
function reasonOf(error: (Error & { code?: unknown }) | undefined): string {
  if (error === undefined) return 'no reason given';
  return error.message || String(error.code);
}
