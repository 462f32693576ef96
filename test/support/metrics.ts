type Labels = Readonly<Record<string, string>>;

interface Series {
  readonly name: string;
  readonly labels: Labels;
  readonly value: number;
}

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const NUMBERS: Readonly<Record<string, number>> = { '+Inf': Infinity, '-Inf': -Infinity, Nan: NaN };

/** The metrics of one scrape. */
export class Metrics {
  readonly series: readonly Series[];

  constructor(readonly text: string) {
    this.series = text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => {
        const [, name, labels = '', value = ''] = LINE.exec(line) ?? [];
        if (name === undefined) throw new Error(`This is no line of Prometheus' text format: ${line}`);
        const pairs = [...labels.matchAll(LABEL)].map(([, label = '', text = '']) => [label, text] as const);
        return { name, labels: Object.fromEntries(pairs), value: NUMBERS[value] ?? Number(value) };
      });
  }

  /** The series of a metric that have at least these labels. */
  all(name: string, labels: Labels = {}): Series[] {
    return this.series.filter(
      (each) => each.name === name && Object.entries(labels).every(([label, value]) => each.labels[label] === value),
    );
  }

  /** The sum of {@link all}, which is 0 if there are none. */
  sum(name: string, labels: Labels = {}): number {
    return this.all(name, labels).reduce((sum, { value }) => sum + value, 0);
  }

  /** The value of the only series of a metric with these labels. @throws Error if there are none or several */
  value(name: string, labels: Labels = {}): number {
    const [found, ...more] = this.all(name, labels);
    if (!found || more.length > 0) {
      throw new Error(`${String(more.length + (found ? 1 : 0))} series are ${name} ${JSON.stringify(labels)}`);
    }
    return found.value;
  }
}

/**
 * Scrapes the metrics of an instance.
 *
 * @param opsUrl `app.opsUrl` of a {@link TestApp}; `server.line('Operations on ')` of a {@link ServerProcess}
 */
export async function scrape(opsUrl: string): Promise<Metrics> {
  const answer = await fetch(`${opsUrl}/metrics`);
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`/metrics answered ${String(answer.status)}: ${text}`);
  return new Metrics(text);
}
