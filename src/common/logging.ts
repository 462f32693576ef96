import type { LoggerService } from '@nestjs/common';
import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';

const BLOCK_BYTES = 8_192;
const FLUSH_MS = 100;
/** Lines that wait while they cannot be written. */
const MAX_WAITING_BYTES = 8 * 1024 * 1024;

interface SerializedError {
  type: string;
  message: string;
  code?: string;
  stack?: string;
  cause?: SerializedError;
}

/**
 * An error as the log may show it. Driver errors carry queries, parameters and the values of the offending row, so
 * only an allow-list of properties is taken.
 */
function serializeError(error: unknown, depth = 0): SerializedError {
  if (!(error instanceof Error)) return { type: typeof error, message: 'a value that is not an error was thrown' };
  const { code, driverError, cause } = error as { code?: unknown; driverError?: unknown; cause?: unknown };
  const inner = driverError ?? cause;
  return {
    type: error.constructor.name,
    message: error.message,
    ...(typeof code === 'string' && { code }),
    ...(error.stack !== undefined && { stack: error.stack }),
    ...(inner !== undefined && depth < 3 && { cause: serializeError(inner, depth + 1) }),
  };
}

const OPTIONS: LoggerOptions = {
  base: undefined,
  timestamp: pino.stdTimeFunctions.isoTime,
  formatters: { level: (label) => ({ level: label }) },
  serializers: { err: (error: unknown) => serializeError(error) },
};

/** Nothing logs these on purpose; should a line do so by accident, the value does not get out. */
const SECRETS = ['authorization', 'cookie', 'password', 'token'];

/** Fields that every line has, made anew for each. */
type CommonFields = () => object;

/**
 * The one logger: JSON lines on standard output.
 *
 * @param level pino's level
 * @param destination where to write instead, for tests
 * @param commonFields what every line says besides, such as the trace that it belongs to
 */
export function createLogger(
  level: string,
  destination: DestinationStream = standardOutput(),
  commonFields?: CommonFields,
): Logger {
  const paths = [...SECRETS, ...SECRETS.map((name) => `*.${name}`), '*.headers.authorization', '*.headers.cookie'];
  const options = { ...OPTIONS, level, redact: { paths, censor: '[redacted]' } };
  return pino(commonFields ? { ...options, mixin: commonFields } : options, destination);
}

/** For lines whose every field is chosen by their author: looking for secrets in them costs more than writing them. */
export function withoutRedaction(logger: Logger): Logger {
  const { streamSym, mixinSym } = pino.symbols as unknown as Record<'streamSym' | 'mixinSym', symbol>;
  const { [streamSym]: destination, [mixinSym]: commonFields } = logger as unknown as Record<symbol, unknown>;
  const options = { ...OPTIONS, level: logger.level };
  return pino(
    commonFields ? { ...options, mixin: commonFields as CommonFields } : options,
    destination as DestinationStream,
  );
}

/**
 * Lines leave in blocks, after a moment at the latest and when the process ends. A log that cannot be written (a full
 * disk, a reader that has gone) ends nothing: lines wait up to a bound, and those beyond are counted and given up.
 */
function standardOutput(): DestinationStream {
  const output = pino.destination({ fd: 1, sync: false, minLength: BLOCK_BYTES, maxLength: MAX_WAITING_BYTES });
  const flushSync = output.flushSync.bind(output);
  let lost = 0;
  output.on('error', () => {
    // The next flush tries again with what it holds. Its flushSync() would try for ever, and the process never end.
    output.flushSync = () => undefined;
  });
  output.on('drop', () => {
    lost++;
  });
  output.on('write', () => {
    output.flushSync = flushSync;
    if (lost === 0) return;
    const msg = `${String(lost)} lines of the log are lost: it could not be written`;
    lost = 0;
    output.write(`${JSON.stringify({ level: 'warn', time: new Date().toISOString(), msg })}\n`);
  });
  setInterval(() => {
    output.flush();
  }, FLUSH_MS).unref();
  process.on('exit', () => {
    output.flushSync();
  });
  return output;
}

/** Nest's own messages, through pino. Its start-up chatter is debug. */
export class NestLogger implements LoggerService {
  constructor(private readonly logger: Logger) {}

  log(message: unknown, ...rest: unknown[]): void {
    this.logger.debug(this.#fields(rest), String(message));
  }
  error(message: unknown, ...rest: unknown[]): void {
    if (message instanceof Error) this.logger.error({ err: message, ...this.#fields(rest) });
    else this.logger.error(this.#fields(rest), String(message));
  }
  warn(message: unknown, ...rest: unknown[]): void {
    this.logger.warn(this.#fields(rest), String(message));
  }
  debug(message: unknown, ...rest: unknown[]): void {
    this.logger.debug(this.#fields(rest), String(message));
  }
  verbose(message: unknown, ...rest: unknown[]): void {
    this.logger.trace(this.#fields(rest), String(message));
  }

  #fields(rest: unknown[]): { context?: string; detail?: string } {
    const context = rest.at(-1);
    const detail = rest.length > 1 ? rest[0] : undefined;
    return {
      ...(typeof context === 'string' && { context }),
      ...(typeof detail === 'string' && { detail }),
    };
  }
}
