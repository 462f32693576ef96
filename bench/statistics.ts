/** The value below which a share of the sorted values lies (nearest rank). @param share 0 to 1 */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? NaN;
}

const ascending = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b);

export function median(values: readonly number[]): number {
  const sorted = ascending(values);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? NaN) + (sorted[Math.floor(middle)] ?? NaN)) / 2;
}

/** The median, and the spread of the other values. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export const spreadOf = (values: readonly number[]): Spread => ({
  median: median(values),
  min: Math.min(...values),
  max: Math.max(...values),
});

/** The complementary error function, to seven digits of its value (W. H. Press et al., Numerical Recipes, erfcc). */
function erfc(x: number): number {
  const z = Math.abs(x);
  const t = 1 / (1 + z / 2);
  const coefficients = [
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223,
    0.17087277,
  ];
  const polynomial = coefficients.reduceRight((sum, coefficient) => coefficient + t * sum, 0);
  const value = t * Math.exp(-z * z + polynomial);
  return x >= 0 ? value : 2 - value;
}

export interface MannWhitney {
  /** Two-sided, from the normal approximation with correction for ties and continuity. */
  readonly p: number;
  /** The probability that a value of the first sample exceeds one of the second; equal values count half. */
  readonly superiority: number;
  /** 2 × superiority − 1: 0 without any difference, ±1 when the samples do not overlap. */
  readonly rankBiserial: number;
}

/** Tests whether values of one sample tend to be larger than those of another (H. B. Mann and D. R. Whitney, 1947). */
export function mannWhitney(first: readonly number[], second: readonly number[]): MannWhitney {
  const all = [
    ...first.map((value) => ({ value, ofFirst: true })),
    ...second.map((value) => ({ value, ofFirst: false })),
  ];
  all.sort((a, b) => a.value - b.value);
  let rankSum = 0;
  let ties = 0;
  for (let from = 0; from < all.length;) {
    let to = from;
    while (to < all.length && all[to]?.value === all[from]?.value) to += 1;
    const group = to - from;
    ties += group ** 3 - group;
    const rank = (from + 1 + to) / 2;
    for (let index = from; index < to; index += 1) if (all[index]?.ofFirst) rankSum += rank;
    from = to;
  }
  const [n, m] = [first.length, second.length];
  const u = rankSum - (n * (n + 1)) / 2;
  const variance = ((n * m) / 12) * (n + m + 1 - ties / ((n + m) * (n + m - 1)));
  const z = Math.max(0, Math.abs(u - (n * m) / 2) - 0.5) / Math.sqrt(variance);
  const superiority = u / (n * m);
  return { p: variance === 0 ? 1 : erfc(z / Math.SQRT2), superiority, rankBiserial: 2 * superiority - 1 };
}
