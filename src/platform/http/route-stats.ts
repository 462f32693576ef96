import type { Api } from './route-api.ts';

/**
 * Upper bounds of the buckets of request durations, in seconds. None is at 250 ms or a multiple of it, when refused
 * sign-ins are answered (contract §2).
 */
export const DURATION_BOUNDS: readonly number[] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.3, 0.6, 1.2, 2.5, 5];

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/** The counters of one route, for all methods. Clients choose no key of these maps, so that they stay small. */
export class RouteStats {
  /** Requests by bucket of {@link DURATION_BOUNDS}. The last bucket has those above all bounds. */
  readonly durations = new Float64Array(DURATION_BOUNDS.length + 1);
  durationSum = 0;
  /** Number of answers by method and status. */
  readonly answers = new Map<string, Map<number, number>>();
  /** Number of answered errors by code. */
  readonly errors = new Map<string, number>();

  /**
   * @param route the route's template, or `unmatched` for paths without a route
   * @param number different for each route, for counts by route elsewhere
   */
  constructor(
    readonly api: Api,
    readonly route: string,
    readonly number = 0,
  ) {}

  /**
   * Counts an answer. Since every request calls this, it allocates only for the first answer of its kind.
   *
   * @param ms the duration of the request
   */
  count(method: string, status: number, ms: number, errorCode: string | undefined): void {
    const ofMethod = this.answers.get(method) ?? this.#ofMethod(method);
    ofMethod.set(status, (ofMethod.get(status) ?? 0) + 1);
    const seconds = ms / 1000;
    let bucket = 0;
    while (seconds > (DURATION_BOUNDS[bucket] ?? Infinity)) bucket++;
    this.durations[bucket] = (this.durations[bucket] ?? 0) + 1;
    this.durationSum += seconds;
    if (errorCode !== undefined) this.errors.set(errorCode, (this.errors.get(errorCode) ?? 0) + 1);
  }

  #ofMethod(method: string): Map<number, number> {
    const name = METHODS.has(method) ? method : 'other';
    let counts = this.answers.get(name);
    if (!counts) this.answers.set(name, (counts = new Map<number, number>()));
    return counts;
  }
}

/** Counts requests by route, method and status. */
export class HttpStats {
  readonly #routes = new Map<string, RouteStats>();
  readonly #unmatched: Record<Api, RouteStats> = {
    partner: new RouteStats('partner', 'unmatched'),
    staff: new RouteStats('staff', 'unmatched'),
    ops: new RouteStats('ops', 'unmatched'),
  };

  /** @param pending returns how many requests are being answered */
  constructor(private readonly pending: () => number) {}

  get inFlight(): number {
    return this.pending();
  }

  get routes(): RouteStats[] {
    return [...this.#routes.values(), ...Object.values(this.#unmatched)];
  }

  /** The counters of a route. */
  ofRoute(api: Api, template: string): RouteStats {
    let stats = this.#routes.get(template);
    if (!stats) this.#routes.set(template, (stats = new RouteStats(api, template, this.#routes.size + 1)));
    return stats;
  }

  /** The counters of requests that no route answers. @param api the API that the listener is for */
  unmatched(api: Api): RouteStats {
    return this.#unmatched[api];
  }
}
