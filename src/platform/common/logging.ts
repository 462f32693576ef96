import type { LoggerService } from '@nestjs/common';
import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';
import { withoutKeys } from './service-account-key.ts';

const BLOCK_BYTES = 8_192;
const FLUSH_MS = 100;
/** Bytes of lines that wait while the log cannot be written. Further lines are dropped. */
const MAX_WAITING_BYTES = 8 * 1024 * 1024;

interface SerializedError {
  type: string;
  message: string;
  code?: string;
  stack?: string;
  cause?: SerializedError;
}

/**
 * The part of an error that may be logged. Errors of the database driver contain queries, parameters and values of
 * rows, so only the properties of an allow-list are taken.
 */
function serializeError(error: unknown, depth = 0): SerializedError {
  if (!(error instanceof Error)) return { type: typeof error, message: 'a value that is not an Error was thrown' };
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
  // The message of an error may quote what a client sent.
  hooks: { streamWrite: withoutKeys },
};

/** Fields that are redacted. Nothing logs them on purpose, and this covers accidents. */
const SECRETS = ['authorization', 'cookie', 'password', 'token'];

/** Computes, for each line, the fields that every line has. */
type CommonFields = () => object;

/**
 * Creates the logger, which writes JSON lines to standard output.
 *
 * @param level pino's level
 * @param destination where to write instead, for tests
 * @param commonFields further fields of every line, such as its trace
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

/** The fields of a request's line. No text but `route` and `code` may need escaping, and of these there are few. */
export interface RequestLine {
  readonly level: 'debug' | 'info';
  /** The UUID of the request. */
  readonly requestId: string;
  readonly method: string;
  /** The template of the route, never the URL, which may contain a credential. */
  readonly route: string | undefined;
  readonly status: number;
  readonly code: string | undefined;
  readonly durationMs: number;
  /** An IP address. */
  readonly address: string | undefined;
  /** A UUID. */
  readonly channelUser: string | undefined;
  /** A UUID. */
  readonly staff: string | undefined;
  /** A UUID. */
  readonly serviceAccount: string | undefined;
}

const quotedTexts = new Map<string, string>();
/** A text as JSON, remembered. */
function quoted(text: string): string {
  let json = quotedTexts.get(text);
  if (json === undefined) quotedTexts.set(text, (json = JSON.stringify(text)));
  return json;
}
const ofText = (name: string, text: string | undefined): string => (text === undefined ? '' : `,"${name}":"${text}"`);
const ofQuoted = (name: string, text: string | undefined): string =>
  text === undefined ? '' : `,"${name}":${quoted(text)}`;

/**
 * A function that writes the lines of requests as the logger would, but puts them together by hand: pino takes 7 µs
 * longer for each, a tenth of the processor time of a guarded call. None of the fields is redacted.
 */
export function requestLines(logger: Logger): (line: RequestLine) => void {
  const { streamSym, mixinSym } = pino.symbols as unknown as Record<'streamSym' | 'mixinSym', symbol>;
  const internals = logger as unknown as Record<symbol, unknown>;
  const destination = internals[streamSym] as DestinationStream;
  const commonFields = internals[mixinSym] as CommonFields | undefined;
  const common = (): string => (commonFields ? JSON.stringify(commonFields()).slice(1, -1) : '');
  return (line) => {
    const { level, requestId, method, route, status, code, durationMs, address, channelUser, staff, serviceAccount } =
      line;
    if (!logger.isLevelEnabled(level)) return;
    const fields = common();
    destination.write(
      `{"level":"${level}"${pino.stdTimeFunctions.isoTime()}${fields === '' ? '' : `,${fields}`}` +
        `,"requestId":"${requestId}","method":"${method}"${ofQuoted('route', route)},"status":${String(status)}` +
        `${ofQuoted('code', code)},"durationMs":${String(durationMs)}${ofText('address', address)}` +
        `${ofText('channelUser', channelUser)}${ofText('staff', staff)}` +
        `${ofText('serviceAccount', serviceAccount)},"msg":"request"}\n`,
    );
  };
}

/**
 * Writes lines in blocks, at the latest after `FLUSH_MS` and when the process ends. A full disk or a closed pipe does
 * not end the process: lines wait up to a limit, and further ones are counted and dropped.
 */
function standardOutput(): DestinationStream {
  const output = pino.destination({ fd: 1, sync: false, minLength: BLOCK_BYTES, maxLength: MAX_WAITING_BYTES });
  const flushSync = output.flushSync.bind(output);
  let lost = 0;
  output.on('error', () => {
    // The next flush() tries again. flushSync() would retry for ever and keep the process from ending.
    output.flushSync = () => undefined;
  });
  output.on('drop', () => {
    lost++;
  });
  output.on('write', () => {
    output.flushSync = flushSync;
    if (lost === 0) return;
    const msg = `${String(lost)} log lines were lost because the output could not be written`;
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

/** Logs Nest's own messages through pino, those of the start at the level debug. */
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
