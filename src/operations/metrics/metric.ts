import type { Counter, Gauge, Metric } from 'prom-client';

/** Creates a metric with prom-client, which is loaded only when there is somebody to scrape it. */
export type Definition = (promClient: typeof import('prom-client')) => Metric;

type Labels = Readonly<Record<string, string>>;
/** One series and its present value. */
export type Sample = readonly [labels: Labels, value: number];

/** What a metric has at each scrape: its series, or the value of its only series, which does not exist if `undefined`. */
type Readings = Iterable<Sample> | number | undefined;
type Read = () => Readings | Promise<Readings>;

/**
 * The configuration of a prom-client metric that reads its values from their service at each scrape, since counting in
 * prom-client would cost each request a microsecond for each metric.
 */
function readFrom(name: string, help: string, labelNames: readonly string[], read: Read) {
  return {
    name: `latchkey_${name}`,
    help,
    labelNames,
    registers: [],
    async collect(this: Counter | Gauge): Promise<void> {
      const readings = await read();
      this.reset();
      if (readings === undefined) this.remove();
      else if (typeof readings === 'number') this.inc(readings);
      else for (const [labels, value] of readings) this.inc(labels, value);
    },
  };
}

/** A counter, which only grows until the process ends. The name gets the prefix `latchkey_`. */
export const counter =
  (...metric: Parameters<typeof readFrom>): Definition =>
  ({ Counter }) =>
    new Counter(readFrom(...metric));
/** A gauge, which goes up and down. The name gets the prefix `latchkey_`. Its values must be finite. */
export const gauge =
  (...metric: Parameters<typeof readFrom>): Definition =>
  ({ Gauge }) =>
    new Gauge(readFrom(...metric));

/** The durations of one set of labels. `buckets` holds the count of each bucket, the one beyond all bounds last. */
export interface Durations {
  readonly labels: Labels;
  readonly buckets: Iterable<number>;
  readonly sum: number;
}

interface Series {
  readonly labels: Labels;
  readonly value: number;
  /** The name of the metric with `_bucket`, `_sum` or `_count`. */
  readonly metricName: string;
}

/**
 * A histogram. The name gets the prefix `latchkey_`. Own code, since prom-client's histogram takes single
 * observations, and the service has counts of buckets.
 *
 * @param bounds inclusive upper bounds of the buckets, in the unit that the name ends in
 */
export function histogram(
  name: string,
  help: string,
  bounds: readonly number[],
  read: () => Iterable<Durations>,
): Definition {
  const full = `latchkey_${name}`;
  function* series(): Iterable<Series> {
    for (const { labels, buckets, sum } of read()) {
      let count = 0;
      let i = 0;
      for (const inBucket of buckets) {
        count += inBucket;
        const le = bounds[i++];
        const value = le === undefined ? '+Inf' : String(le);
        yield { labels: { le: value, ...labels }, value: count, metricName: `${full}_bucket` };
      }
      yield { labels, value: sum, metricName: `${full}_sum` };
      yield { labels, value: count, metricName: `${full}_count` };
    }
  }
  // What a registry asks of a metric.
  const get = () => Promise.resolve({ name: full, help, type: 'histogram', values: [...series()], aggregator: 'sum' });
  return () => ({ name: full, get }) as unknown as Metric;
}
