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

/** Compares the rounds of one contender with the same rounds of another. */
export function ratios(measured: Measured, of: Contender, to: Contender): Spread {
  const reference = resultsOf(measured, to);
  return spreadOf(
    resultsOf(measured, of).map(({ perSecond }, round) => perSecond / (reference[round]?.perSecond ?? NaN)),
  );
}

export function resultsOf({ rounds }: Measured, contender: Contender): readonly LoadResult[] {
  const results = rounds.get(contender);
  if (!results) throw new Error(`${contender.name} was not measured`);
  return results;
}

function atLeast(text: string, target: number, { median, min, max }: Spread): Goal {
  return {
    text,
    target: `≥ ${String(target)}`,
    figure: `${ratio(median)} (${ratio(min)}–${ratio(max)})`,
    met: median >= target,
  };
}

function atMost(text: string, target: number, figure: number, unit: string, digits = 0): Goal {
  return {
    text,
    target: `≤ ${String(target)}${unit}`,
    figure: `${figure.toFixed(digits)}${unit}`,
    met: figure <= target,
  };
}

/** The goals for the figures. */
export function goalsOf(measured: Measured): Goal[] {
  const { limit, tutorial, oidcProvider, latchkey, starts } = measured;
  const [smallest] = latchkey;
  const largest = latchkey.at(-1);
  if (!smallest || !largest) throw new Error('Latchkey was not measured');
  const tail = (contender: Contender): number =>
    spreadOf(resultsOf(measured, contender).map(({ p99Ms, p50Ms }) => p99Ms / p50Ms)).median;
  const goals = [
    atLeast('generate ÷ limit', 0.75, ratios(measured, smallest.generate, limit.generate)),
    atLeast('generate ÷ tutorial', 200, ratios(measured, smallest.generate, tutorial.generate)),
    atLeast('generate ÷ oidc-provider', 2, ratios(measured, smallest.generate, oidcProvider)),
    atLeast('guard ÷ limit', 0.65, ratios(measured, smallest.guard, limit.guard)),
    atLeast('guard ÷ tutorial', 10, ratios(measured, smallest.guard, tutorial.guard)),
    atMost('generate: p99 ÷ p50', 3, tail(smallest.generate), '', 2),
    atMost('guard: p99 ÷ p50', 3, tail(smallest.guard), '', 2),
    atMost('start to ready, existing database', 1500, starts.ready.median, ' ms'),
  ];
  for (const { users, residentMiB } of latchkey.filter(({ users }) => users === 100_000)) {
    const { allSignedIn, allTokensUsed } = residentMiB;
    const text = `resident memory with ${users.toLocaleString('en')} cached users`;
    goals.push(atMost(text, 200, Math.max(allSignedIn, allTokensUsed), ' MiB'));
  }
  if (largest !== smallest) {
    const text = `${largest.users.toLocaleString('en')} ÷ ${smallest.users.toLocaleString('en')} users, warm`;
    goals.push(
      atLeast(`generate: ${text}`, 0.9, ratios(measured, largest.generate, smallest.generate)),
      atLeast(`guard: ${text}`, 0.9, ratios(measured, largest.guard, smallest.guard)),
    );
  }
  return goals;
}
