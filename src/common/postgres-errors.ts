import { AppError, InvalidInputError, UnavailableError } from './errors.ts';

interface DriverError {
  code?: unknown;
  constraint?: unknown;
  message?: unknown;
}

/** TypeORM wraps what pg threw; the pool throws bare errors. */
function driverErrorOf(error: unknown): DriverError | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { driverError } = error as { driverError?: unknown };
  return typeof driverError === 'object' && driverError !== null ? driverError : error;
}

/** @returns the name of the violated unique constraint or index, if that is what the error says (SQLSTATE 23505) */
export function uniqueViolation(error: unknown): string | undefined {
  const driverError = driverErrorOf(error);
  return driverError?.code === '23505' && typeof driverError.constraint === 'string'
    ? driverError.constraint
    : undefined;
}

// Class 08 connection, 53 resources, 57 operator intervention and statement timeout, 40 serialization and deadlock,
// 25006 read-only (a standby during failover), 58 system errors, 28/3D: the server refuses this application altogether.
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
// pg, its pool and TypeORM say these only in words. A runner is released when its connection ends under a transaction.
const UNAVAILABLE_WORDS =
  /Query runner already released|timeout exceeded when trying to connect|Query read timeout|Connection terminated|Client has encountered a connection error|connection error and is not queryable|Cannot use a pool after|Driver not Connected|DataSource is not (connected|initialized)|a query runner was already released/i;

/**
 * Reads an error that came out of PostgreSQL, its driver or its pool.
 *
 * @returns what to answer, or `undefined` when the error did not come from there
 */
export function postgresError(error: unknown): AppError | undefined {
  const driverError = driverErrorOf(error);
  if (driverError === undefined) return undefined;
  const { code, message } = driverError;
  if (typeof code === 'string') {
    if (NETWORK_CODES.has(code) || UNAVAILABLE_SQLSTATE.test(code)) return new UnavailableError(error);
    if (code === '23505') {
      return new AppError({ status: 409, code: 'request.conflict', detail: 'This already exists.' }, error);
    }
    // Class 22: a value that the column's type cannot hold, 22P02 (a bad uuid) among them.
    if (/^22...$/.test(code)) return new InvalidInputError([], 'A value in the request cannot be stored.');
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
