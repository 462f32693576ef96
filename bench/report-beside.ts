import { type Beside, BESIDE_PARTNERS } from './beside-jobs.ts';
import { CONNECTIONS, type LoadResult } from './load.ts';
import { type Section, table } from './section.ts';
import { spreadOf } from './statistics.ts';

/** Bounds of the goals: beside revocations the rate, beside anything else the tail. */
const LEAST_RATE = 0.9;
const MOST_P99 = 2;

/** Guarded calls beside other work. */
export function besideSection(measured: readonly Beside[]): Section {
  const rounds = measured[0]?.beside.length ?? 0;
  const rows = measured.map(({ name, alone, beside }) => {
    const median = (results: readonly LoadResult[], pick: (result: LoadResult) => number): string =>
      spreadOf(results.map(pick)).median.toFixed(1);
    const quotient = (pick: (result: LoadResult) => number): string => {
      const { median: middle, min, max } = spreadOf(beside.map((result, i) => pick(result) / pick(alone[i] ?? result)));
      return rounds === 1 ? middle.toFixed(2) : `${middle.toFixed(2)} (${min.toFixed(2)}–${max.toFixed(2)})`;
    };
    const p50 = ({ p50Ms }: LoadResult): number => p50Ms;
    const p99 = ({ p99Ms }: LoadResult): number => p99Ms;
    return [
      name,
      median(alone, p50),
      median(beside, p50),
      median(alone, p99),
      median(beside, p99),
      quotient(p99),
      quotient(({ perSecond }) => perSecond),
    ];
  });
  return {
    title: 'Beside other work',
    text: `\`GET /me\` over ${String(CONNECTIONS)} connections beside each of these, on the core of the server and with ${BESIDE_PARTNERS.toLocaleString('en')} partners, against the same load
alone just before; ${rounds === 1 ? 'one round (`node bench/beside.ts` measures three)' : `medians of ${String(rounds)} rounds (least–most)`}. Goals: p99 beside a job is at most ${String(MOST_P99)} times that alone, and
the rate beside revocations at least ${String(LEAST_RATE)} of that alone.

${table(['beside', 'p50 alone, ms', 'p50 beside, ms', 'p99 alone, ms', 'p99 beside, ms', 'p99 ÷ alone', 'rate ÷ alone'], rows)}

The storm is of notifications that partners changed, as other instances send them: the partners leave the cache, and
those in use are read again.`,
  };
}
