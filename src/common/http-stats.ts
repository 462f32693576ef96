import type { RoutePlane } from './planes.ts';

/**
 * Upper bounds of the buckets of a request's duration, in seconds. Refused sign-ins leave after 250 ms and its
 * multiples (contract §2): no bound lies there.
 */
export const DURATION_BOUNDS: readonly number[] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.3, 0.6, 1.2, 2.5, 5];

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/** The requests that one route has answered, whatever their method. Nothing in here was chosen by a client. */
export class RouteStats {
  /** How many took no longer than each of {@link DURATION_BOUNDS}, and longer than the one before; the last: longer. */
  readonly durations = new Float64Array(DURATION_BOUNDS.length + 1);
  durationSum = 0;
  /** By method and status. */
  readonly answers = new Map<string, Map<number, number>>();
  /** By the code of the error that was answered. */
  readonly errors = new Map<string, number>();

  /** @param route its template; `unmatched` for paths that there are none for */
  constructor(
    readonly plane: RoutePlane,
    readonly route: string,
  ) {}

  /**
   * Counts an answer. On the way of every request: it makes nothing but for the first of its kind.
   *
   * @param ms how long it took
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

/** Counts requests where they are answered, in as many numbers as there are routes, methods and statuses. */
export class HttpStats {
  readonly #routes = new Map<string, RouteStats>();
  readonly #unmatched: Record<RoutePlane, RouteStats> = {
    partner: new RouteStats('partner', 'unmatched'),
    staff: new RouteStats('staff', 'unmatched'),
    ops: new RouteStats('ops', 'unmatched'),
  };

  /** @param pending how many requests are being answered */
  constructor(private readonly pending: () => number) {}

  get inFlight(): number {
    return this.pending();
  }

  get routes(): RouteStats[] {
    return [...this.#routes.values(), ...Object.values(this.#unmatched)];
  }

  /** Where the requests of a route are counted. */
  ofRoute(plane: RoutePlane, template: string): RouteStats {
    let stats = this.#routes.get(template);
    if (!stats) this.#routes.set(template, (stats = new RouteStats(plane, template)));
    return stats;
  }

  /** Where requests are counted that no route answers. @param plane that the listener is for */
  unmatched(plane: RoutePlane): RouteStats {
    return this.#unmatched[plane];
  }
}
