import type { Metric } from 'prom-client';

type Labels = Readonly<Record<string, string>>;
/** One series and its present value. */
export type Sample = readonly [labels: Labels, value: number];
type Readings = Iterable<Sample>;

interface Series {
  readonly labels: Labels;
  readonly value: number;
  /** Only for a histogram: the name of the series, with `_bucket`, `_sum` or `_count`. */
  readonly metricName?: string;
}

/**
 * A metric that reads its values from their service at each scrape. prom-client's own counters and histograms would
 * keep the values a second time, and cost each request a microsecond apiece.
 */
class ReadMetric {
  constructor(
    readonly name: string,
    readonly help: string,
    readonly type: 'counter' | 'gauge' | 'histogram',
    private readonly read: () => Iterable<Series> | Promise<Iterable<Series>>,
  ) {}

  /** Called by a prom-client registry. */
  async get(): Promise<{ name: string; help: string; type: string; values: Series[]; aggregator: string }> {
    const { name, help, type } = this;
    return { name, help, type, values: [...(await this.read())], aggregator: 'sum' };
  }

  reset(): void {
    // The values belong to the services.
  }
}

export type AnyMetric = Metric & ReadMetric;

const seriesOf = (readings: Readings): Series[] => Array.from(readings, ([labels, value]) => ({ labels, value }));

function metricOf(type: 'counter' | 'gauge') {
  return (name: string, help: string, read: () => number | Readings | Promise<number>): AnyMetric => {
    const series = async (): Promise<Series[]> => {
      const readings = await read();
      return typeof readings === 'number' ? [{ labels: {}, value: readings }] : seriesOf(readings);
    };
    return new ReadMetric(`latchkey_${name}`, help, type, series) as unknown as AnyMetric;
  };
}

/** Creates a counter, which only grows until the process ends. The name gets the prefix `latchkey_`. */
export const counter = metricOf('counter');
/** Creates a gauge, which goes up and down. The name gets the prefix `latchkey_`. */
export const gauge = metricOf('gauge');

/** The durations of one set of labels. `buckets` holds the count of each bucket, the one beyond all bounds last. */
export interface Durations {
  readonly labels: Labels;
  readonly buckets: Iterable<number>;
  readonly sum: number;
}

/**
 * Creates a histogram. The name gets the prefix `latchkey_`.
 *
 * @param bounds inclusive upper bounds of the buckets, in the unit that the name ends in
 */
export function histogram(
  name: string,
  help: string,
  bounds: readonly number[],
  read: () => Iterable<Durations>,
): AnyMetric {
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
  return new ReadMetric(full, help, 'histogram', series) as unknown as AnyMetric;
}
