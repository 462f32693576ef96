import { AppError, InvalidInputError, UnavailableError } from './errors.ts';

interface DriverError {
  code?: unknown;
  constraint?: unknown;
  message?: unknown;
}

/** The driver's error. TypeORM wraps errors of pg, and the pool throws bare ones. */
function driverErrorOf(error: unknown): DriverError | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { driverError } = error as { driverError?: unknown };
  return typeof driverError === 'object' && driverError !== null ? driverError : error;
}

/** @returns the name of the violated unique constraint or index, if the error is such a violation (SQLSTATE 23505) */
export function uniqueViolation(error: unknown): string | undefined {
  const driverError = driverErrorOf(error);
  return driverError?.code === '23505' && typeof driverError.constraint === 'string'
    ? driverError.constraint
    : undefined;
}

// Class 08 connection, 53 resources, 57 operator intervention and statement timeout, 40 serialization and deadlock,
// 25006 read-only (a standby during failover), 58 system errors, 28/3D this role or database is refused.
const UNAVAILABLE_SQLSTATE = /^(08|40|53|57|58|28|3D)...$|^25006$|^25P03$|^55P03$/;
const NETWORK_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EMFILE',
]);
// These errors have no code. TypeORM releases a query runner whose connection ends during a transaction.
const UNAVAILABLE_WORDS =
  /Query runner already released|timeout exceeded when trying to connect|Query read timeout|Connection terminated|Client has encountered a connection error|connection error and is not queryable|Cannot use a pool after|Driver not Connected|DataSource is not (connected|initialized)|a query runner was already released/i;

/**
 * Translates an error of PostgreSQL, its driver or its pool.
 *
 * @returns the error to answer with, or `undefined` when the error has another origin
 */
export function postgresError(error: unknown): AppError | undefined {
  const driverError = driverErrorOf(error);
  if (driverError === undefined) return undefined;
  const { code, message } = driverError;
  if (typeof code === 'string') {
    if (NETWORK_CODES.has(code) || UNAVAILABLE_SQLSTATE.test(code)) return new UnavailableError(error);
    if (code === '23505') {
      return new AppError({ status: 409, code: 'request.conflict', detail: 'This exists already.' }, error);
    }
    // Class 22: the column's type cannot hold a value. 22P02 is a bad uuid.
    if (/^22...$/.test(code)) return new InvalidInputError([], 'The database cannot store a value of the request.');
  }
  if (typeof message === 'string' && UNAVAILABLE_WORDS.test(message)) return new UnavailableError(error);
  if (error instanceof AggregateError) {
    for (const each of error.errors) {
      const inner = postgresError(each);
      if (inner) return inner;
    }
  }
  return undefined;
}
