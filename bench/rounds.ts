import { setTimeout as sleep } from 'node:timers/promises';
import type { Contender } from './contenders.ts';
import { type LoadResult, type RandomPace, runLoad } from './load.ts';
import { interruption, tell } from './terminal.ts';

/** Milliseconds between loads, so that work left over from one, such as buffered records, does not disturb the next. */
const PAUSE_MS = 500;

/** The results of a contender, one for each round. */
export type Rounds = ReadonlyMap<Contender, readonly LoadResult[]>;

/**
 * Loads all contenders in turn, several times, so that whatever slows the machine down for a while meets all of them.
 * Each round begins with another one. An interruption ends the run; the rounds that were complete by then are returned.
 *
 * @throws Error when a load failed, or the first round was interrupted
 */
export async function runRounds(
  contenders: readonly Contender[],
  { rounds, pace }: { rounds: number; pace: RandomPace },
): Promise<Rounds> {
  const results = new Map<Contender, LoadResult[]>(contenders.map((contender) => [contender, []]));
  for (let round = 0; round < rounds; round += 1) {
    const first = round % contenders.length;
    for (const contender of [...contenders.slice(first), ...contenders.slice(0, first)]) {
      const { name, server, requests } = contender;
      const load = runLoad({ origin: server.origin, serverPid: server.pid, requests, pace });
      const result = await load.catch((error: unknown) => {
        if (!interruption.aborted || round === 0) throw error;
      });
      if (!result) return new Map([...results].map(([each, of]) => [each, of.slice(0, round)]));
      results.get(contender)?.push(result);
      tell(
        `round ${String(round + 1)}  ${name} ${requests.path}: ${result.perSecond.toFixed(0)}/s, ` +
          `p50 ${result.p50Ms.toFixed(2)} ms, p99 ${result.p99Ms.toFixed(2)} ms`,
      );
      await sleep(PAUSE_MS);
    }
  }
  return results;
}
