import { DURATION_BOUNDS, type HttpStats, type RouteStats } from '../../platform/http/route-stats.ts';
import { counter, type Definition, type Durations, gauge, histogram, type Sample } from './metric.ts';

/** The routes that issue tokens, and the value of their `endpoint` label. */
const TOKEN_ENDPOINTS: readonly (readonly [route: string, endpoint: string])[] = [
  ['/generateToken', 'generate_token'],
  ['/oauth2/token', 'oauth2_token'],
];
/** Error codes of the guard that do not begin with `auth.`. */
const GUARD_CODES = new Set(['session.enrolment-required', 'session.cross-site']);

const isOfGuard = (code: string): boolean => code.startsWith('auth.') || GUARD_CODES.has(code);

function* requests(stats: HttpStats): Iterable<Sample> {
  for (const { api, route, answers } of stats.routes) {
    for (const [method, statuses] of answers) {
      for (const [status, count] of statuses) yield [{ plane: api, route, method, status: String(status) }, count];
    }
  }
}

function* durations(stats: HttpStats): Iterable<Durations> {
  for (const { api, route, answers, durations: buckets, durationSum: sum } of stats.routes) {
    // A route without calls has no series.
    if (answers.size > 0) yield { labels: { plane: api, route }, buckets, sum };
  }
}

function* ofTokenEndpoints(stats: HttpStats): Iterable<[RouteStats, string]> {
  for (const [route, endpoint] of TOKEN_ENDPOINTS) {
    const found = stats.routes.find((each) => each.route === route);
    if (found) yield [found, endpoint];
  }
}

function* generated(stats: HttpStats): Iterable<Sample> {
  for (const [{ answers }, endpoint] of ofTokenEndpoints(stats))
    yield [{ endpoint }, answers.get('POST')?.get(200) ?? 0];
}

function* refused(stats: HttpStats): Iterable<Sample> {
  for (const [{ errors }, endpoint] of ofTokenEndpoints(stats)) {
    for (const [code, count] of errors) yield [{ endpoint, error_code: code }, count];
  }
}

function guardRefusals(stats: HttpStats): Sample[] {
  const counts = new Map<string, [Record<string, string>, number]>();
  for (const { api, errors } of stats.routes) {
    for (const [code, count] of errors) {
      if (!isOfGuard(code)) continue;
      const key = `${api} ${code}`;
      counts.set(key, [{ plane: api, error_code: code }, (counts.get(key)?.[1] ?? 0) + count]);
    }
  }
  return [...counts.values()];
}

function unavailable(stats: HttpStats): number {
  let sum = 0;
  for (const { api, answers } of stats.routes) {
    if (api === 'ops') continue;
    for (const statuses of answers.values()) sum += statuses.get(503) ?? 0;
  }
  return sum;
}

/** Metrics of the answers that the HTTP layer has sent. */
export const httpMetrics = (stats: HttpStats): Definition[] => [
  counter('http_requests_total', 'Requests answered.', ['plane', 'route', 'method', 'status'], () => requests(stats)),
  histogram(
    'http_request_duration_seconds',
    'Time from the request headers to the last byte of the response.',
    DURATION_BOUNDS,
    () => durations(stats),
  ),
  gauge('http_requests_in_flight', 'Requests in progress.', [], () => stats.inFlight),
  counter('tokens_generated_total', 'Tokens issued to channel users.', ['endpoint'], () => generated(stats)),
  counter('tokens_refused_total', 'Refused token requests.', ['endpoint', 'error_code'], () => refused(stats)),
  counter('guard_refusals_total', 'Requests refused by the guard.', ['plane', 'error_code'], () =>
    guardRefusals(stats),
  ),
  counter('database_errors_total', 'Requests answered with 503.', [], () => unavailable(stats)),
];
