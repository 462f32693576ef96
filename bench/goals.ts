import type { Measured } from './measure.ts';
import { type Spread, spreadOf } from './statistics.ts';
import type { Contender } from './contenders.ts';
import type { LoadResult } from './load.ts';

export interface Goal {
  readonly text: string;
  readonly target: string;
  readonly figure: string;
  readonly met: boolean;
}

const ratio = (value: number): string => value.toFixed(2);

/** Compares the processor time of an answer of one contender with that of another, round by round. */
export function ratios(measured: Measured, of: Contender, to: Contender): Spread {
  const reference = resultsOf(measured, to);
  return spreadOf(
    resultsOf(measured, of).map(
      ({ cpuMicroseconds }, round) => cpuMicroseconds / (reference[round]?.cpuMicroseconds ?? NaN),
    ),
  );
}

export function resultsOf({ rounds }: Measured, contender: Contender): readonly LoadResult[] {
  const results = rounds.get(contender);
  if (!results) throw new Error(`${contender.name} was not measured`);
  return results;
}

const spread = ({ median, min, max }: Spread): string => `${ratio(median)} (${ratio(min)}–${ratio(max)})`;

const atLeast = (text: string, target: number, figure: Spread): Goal => ({
  text,
  target: `≥ ${String(target)}`,
  figure: spread(figure),
  met: figure.median >= target,
});

const atMost = (text: string, target: number, figure: Spread): Goal => ({
  text,
  target: `≤ ${String(target)}`,
  figure: spread(figure),
  met: figure.median <= target,
});

const below = (text: string, target: number, figure: number, unit: string, digits = 0): Goal => ({
  text,
  target: `≤ ${String(target)} ${unit}`,
  figure: `${figure.toFixed(digits)} ${unit}`,
  met: figure <= target,
});

/** How many times longer the slow answers of a contender take than its usual ones, beyond those of another. */
function tailBeyond(measured: Measured, of: Contender, to: Contender): Spread {
  const tail = ({ p99Ms, p50Ms }: LoadResult): number => p99Ms / p50Ms;
  const reference = resultsOf(measured, to);
  return spreadOf(
    resultsOf(measured, of).map((result, round) => {
      const other = reference[round];
      return other ? tail(result) - tail(other) : NaN;
    }),
  );
}

/** Processor time of a request whose account is not in memory, divided by that of one whose account is. */
function coldRatio(measured: Measured, { cpuMicroseconds }: LoadResult, warm: Contender): Spread {
  return spreadOf(resultsOf(measured, warm).map((result) => cpuMicroseconds / result.cpuMicroseconds));
}

/** Goals are set in processor time, which a busy machine changes less than rates. */
export function goalsOf(measured: Measured): Goal[] {
  const { limit, oidcProvider, guardPeers, latchkey, starts } = measured;
  const [smallest] = latchkey;
  if (!smallest) throw new Error('Latchkey was not measured');
  const goals = [
    atMost('`/me` ÷ limit', 1.8, ratios(measured, smallest.guard, limit.guard)),
    atMost('`/generateToken` ÷ limit', 1.5, ratios(measured, smallest.generate, limit.generate)),
    atLeast('oidc-provider ÷ `/generateToken`', 1.9, ratios(measured, oidcProvider, smallest.generate)),
    ...guardPeers.map((peer) => atLeast(`${peer.name} ÷ \`/me\``, 3, ratios(measured, peer, smallest.guard))),
    atMost('`/me`: p99 ÷ p50, minus that of the limit', 1, tailBeyond(measured, smallest.guard, limit.guard)),
    atMost('`/generateToken`: the same', 1, tailBeyond(measured, smallest.generate, limit.generate)),
    atMost('`/me`, cold ÷ warm', 2.5, coldRatio(measured, smallest.coldGuard, smallest.guard)),
    atMost('`/generateToken`, cold ÷ warm', 2.5, coldRatio(measured, smallest.coldGenerate, smallest.generate)),
    below('start to `Listening on`, processor time', 1.9, starts.cpuSeconds.median, 's', 2),
    below('`cli --help`, processor time', 0.4, starts.helpSeconds.median, 's', 2),
    below('`cli keys list`, processor time', 2, starts.commandSeconds.median, 's', 2),
  ];
  const many = latchkey.find(({ users }) => users === 100_000);
  if (many && many !== smallest) {
    const { allTokensUsed, allSignedIn } = many.residentMiB;
    goals.push(
      atMost('`/me` with 100,000 partners in use ÷ with 1,000', 1.15, ratios(measured, many.guard, smallest.guard)),
      below('resident memory with 100,000 partners in use', 300, Math.max(allTokensUsed, allSignedIn), 'MiB'),
    );
  }
  return goals;
}
