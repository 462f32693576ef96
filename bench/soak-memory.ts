import type { Instance } from '../test/support/fleet.ts';

const MINUTE_MS = 60_000;
/** The minimum time over which a process's memory is judged, after its warm-up. */
const LEAST_MS = 3 * MINUTE_MS;
/** Tolerated growth a minute, as a share of the mean, of resident memory and of the heap after collections. */
const FLAT = { resident: 0.03, heap: 0.02 };

export interface Sample {
  readonly at: number;
  readonly instance: number;
  readonly pid: number;
  readonly residentMiB: number;
  readonly heapMiB: number;
}

export async function sampleOf(instance: Instance, index: number): Promise<Sample | undefined> {
  try {
    const { pid } = instance;
    const answer = await fetch(`${instance.opsUrl}/metrics`, { signal: AbortSignal.timeout(1_000) });
    const text = await answer.text();
    const mib = (name: string): number =>
      Number(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'm').exec(text)?.[1]) / 2 ** 20;
    return {
      at: performance.now(),
      instance: index,
      pid,
      residentMiB: mib('process_resident_memory_bytes'),
      heapMiB: mib('nodejs_heap_size_used_bytes'),
    };
  } catch {
    // This instance is down or frozen.
    return undefined;
  }
}

/** How much a value grows in a minute, by least squares. */
function slopePerMinute(points: readonly { at: number; value: number }[]): number {
  const mean = (of: (point: { at: number; value: number }) => number): number =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const [at, value] = [mean((point) => point.at), mean((point) => point.value)];
  const covariance = mean((point) => (point.at - at) * (point.value - value));
  return (covariance / mean((point) => (point.at - at) ** 2)) * MINUTE_MS;
}

export interface Memory {
  readonly instance: number;
  readonly minutes: number;
  readonly meanMiB: number;
  readonly highestMiB: number;
  readonly residentSlope: number;
  readonly heapSlope: number;
  readonly verdict: 'flat' | 'grows' | 'too short to tell';
}

const meanOf = (points: readonly { value: number }[]): number =>
  points.reduce((sum, { value }) => sum + value, 0) / points.length;

/**
 * The longest-running process of each instance.
 *
 * @param warmUpMs from the start of a process until its memory is judged
 */
export function memoryOf(samples: readonly Sample[], instances: number, warmUpMs: number): Memory[] {
  return Array.from({ length: instances }, (_, instance) => {
    const byPid = Map.groupBy(
      samples.filter((sample) => sample.instance === instance),
      ({ pid }) => pid,
    );
    const [longest = []] = [...byPid.values()].sort((a, b) => b.length - a.length);
    const warm = longest.filter(({ at }) => at - (longest[0]?.at ?? 0) > warmUpMs);
    const span = (warm.at(-1)?.at ?? 0) - (warm[0]?.at ?? 0);
    const resident = warm.map(({ at, residentMiB: value }) => ({ at, value }));
    // Memory before a collection says nothing, so the minimum of each minute counts.
    const floors = [...Map.groupBy(warm, ({ at }) => Math.floor(at / MINUTE_MS)).values()].map((samplesOfMinute) => ({
      at: samplesOfMinute[0]?.at ?? 0,
      value: Math.min(...samplesOfMinute.map(({ heapMiB }) => heapMiB)),
    }));
    const meanMiB = meanOf(resident);
    const highestMiB = Math.max(...resident.map(({ value }) => value));
    const residentSlope = slopePerMinute(resident);
    const heapSlope = slopePerMinute(floors);
    const isFlat = residentSlope < FLAT.resident * meanMiB && heapSlope < FLAT.heap * meanOf(floors);
    const verdict = span < LEAST_MS ? 'too short to tell' : isFlat ? 'flat' : 'grows';
    return { instance, minutes: span / MINUTE_MS, meanMiB, highestMiB, residentSlope, heapSlope, verdict };
  });
}
