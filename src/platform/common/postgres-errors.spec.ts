import { QueryFailedError, QueryRunnerAlreadyReleasedError, QueryRunnerProviderAlreadyReleasedError } from 'typeorm';
import { UnavailableError } from './errors.ts';
import { postgresError } from './postgres-errors.ts';

const failed = (code: string): Error => new QueryFailedError('SELECT', [], Object.assign(new Error('x'), { code }));

describe('an error of PostgreSQL, its driver or TypeORM', () => {
  // When a transaction loses its connection, TypeORM's error depends on its next step.
  it.each([
    new QueryRunnerAlreadyReleasedError(),
    new QueryRunnerProviderAlreadyReleasedError(),
    new Error('Connection terminated unexpectedly'),
    new Error('timeout exceeded when trying to connect'),
    failed('57P01'),
    failed('53300'),
    failed('25006'),
  ])('is 503 when the database is unreachable: %s', (error) => {
    expect(postgresError(error)).toBeInstanceOf(UnavailableError);
  });

  it.each([
    [failed('23505'), 409],
    [failed('22P02'), 400],
  ])('has the status of its meaning: %s', (error, status) => {
    expect(postgresError(error)?.status).toBe(status);
  });

  it.each([new Error('anything else'), new TypeError('released'), undefined])('is left to others: %s', (error) => {
    expect(postgresError(error)).toBeUndefined();
  });
});
