import type { Memory, Sample } from './soak-memory.ts';
import type { Answered } from './soak-traffic.ts';
import { percentile } from './statistics.ts';

const MINUTE_MS = 60_000;
/** How long after the end of a fault failures still count as caused by it. */
export const RECOVERY_MS = 5_000;
/** The goal for an instance with all partners in use. */
const RESIDENT_MIB = 300;

export interface Window {
  readonly what: string;
  readonly from: number;
  readonly to: number;
}

export interface Soaked {
  readonly minutes: number;
  readonly partners: number;
  readonly nodeOptions: string;
  /** What the rate follows from, for people. */
  readonly rate: string;
  readonly perSecond: number;
  readonly startedAt: number;
  readonly answered: readonly Answered[];
  readonly windows: readonly Window[];
  readonly samples: readonly Sample[];
  readonly memory: readonly Memory[];
}

export interface Verdict {
  readonly text: string;
  readonly isMet: boolean;
}

export function render(soaked: Soaked, machine: [string, string][]): { page: string; verdicts: Verdict[] } {
  const { minutes: count, perSecond, startedAt, answered, windows, samples, memory } = soaked;
  const isInside = ({ begunAt, endedAt }: Answered): boolean =>
    windows.some(({ from, to }) => endedAt >= from && begunAt <= to);
  const minutes = Array.from({ length: count }, (_, i) => {
    const [from, to] = [startedAt + i * MINUTE_MS, startedAt + (i + 1) * MINUTE_MS];
    const within = answered.filter(({ begunAt }) => begunAt >= from && begunAt < to);
    const quiet = within.filter((each) => !isInside(each));
    const latencies = quiet.map(({ begunAt, endedAt }) => endedAt - begunAt).sort((a, b) => a - b);
    const failed = within.filter(({ isGood }) => !isGood);
    const window = windows.find((each) => each.from >= from && each.from < to);
    const resident = [0, 1, 2].map((instance) =>
      samples.findLast((sample) => sample.instance === instance && sample.at < to)?.residentMiB.toFixed(0),
    );
    return {
      row: [
        String(i + 1),
        window ? `${window.what} (${((window.to - RECOVERY_MS - window.from) / 1000).toFixed(1)} s)` : '',
        String(within.length),
        String(failed.filter(isInside).length),
        String(failed.filter((each) => !isInside(each)).length),
        percentile(latencies, 0.5).toFixed(1),
        percentile(latencies, 0.99).toFixed(1),
        resident.join(' / '),
      ],
    };
  });
  const failed = answered.filter(({ isGood }) => !isGood);
  const outside = failed.filter((each) => !isInside(each)).length;
  const outsideAll = answered.filter((each) => !isInside(each)).length;
  const offered = answered.length / (count * 60);
  const verdicts: Verdict[] = [
    {
      text: `Of ${String(outsideAll)} requests outside the faults, ${String(outside)} failed.`,
      isMet: outside === 0,
    },
    {
      text: `Of ${String(answered.length - outsideAll)} requests while a fault lasted and ${String(RECOVERY_MS / 1000)} s after it, ${String(failed.length - outside)} failed.`,
      isMet: true,
    },
    {
      text: `${offered.toFixed(0)} requests a second were sent; ${String(perSecond)} were intended.`,
      isMet: offered > 0.95 * perSecond,
    },
    ...memory.map(({ instance, minutes: span, meanMiB, highestMiB, residentSlope, heapSlope, verdict }) => ({
      text:
        `Memory of instance ${String(instance + 1)}: ${verdict}. The process that ran longest was watched for ${span.toFixed(1)} minutes after its warm-up: ` +
        `${meanMiB.toFixed(0)} MiB resident on average and ${highestMiB.toFixed(0)} at most (goal: ${String(RESIDENT_MIB)}), ${residentSlope.toFixed(2)} MiB a minute; heap after collections ${heapSlope.toFixed(2)} MiB a minute.`,
      isMet: verdict !== 'grows' && highestMiB <= RESIDENT_MIB,
    })),
  ];
  const page = `# Soak

Written by \`npm run soak\`: three instances behind nginx (deploy/nginx) with their own PostgreSQL and Redis,
${soaked.partners.toLocaleString('en')} partners, all in use, and Node with the heap of the image in a container of 512 MiB: \`${soaked.nodeOptions}\`.
Two fifths sign-ins, three fifths guarded calls; a fault every minute. A failure is any response other than 200, or none.
It counts for a fault if the request was in progress between the beginning of the fault and ${String(RECOVERY_MS / 1000)} s after its end.
Times are those outside the faults.

## Conditions

${machine.map(([name, value]) => `- ${name}: ${value}`).join('\n')}

${soaked.rate}

## Minute by minute

| minute | fault | requests | failed inside | failed outside | p50 ms | p99 ms | resident MiB |
| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |
${minutes.map(({ row }) => `| ${row.join(' | ')} |`).join('\n')}

## Conclusions

${verdicts.map(({ text, isMet }) => `- ${isMet ? '' : '**Not met.** '}${text}`).join('\n')}
`;
  return { page, verdicts };
}
