import { type Section, table } from './section.ts';
import type { TimingResult } from './timing.ts';

const significance = (p: number): string => (p < 0.001 ? '< 0.001' : p.toFixed(3));
const signed = (value: number, digits: number): string => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(digits)}`;

function verdictOf({ reference, rows, answers }: TimingResult): string {
  const different = rows.filter(({ differs }) => differs);
  if (different.some(({ isControl }) => isControl))
    return 'No verdict: the control differs, so the machine was too busy.';
  if (different.length === 0 && answers === 1) {
    return `Met: no reason differs from “${reference.name}”, and all responses are equal.`;
  }
  const times = different.map(({ name }) => name).join('; ');
  return [
    '**Missed**:',
    ...(times === '' ? [] : [`these take another time: ${times}.`]),
    ...(answers === 1 ? [] : [`there are ${String(answers)} different responses.`]),
  ].join(' ');
}

/** @param date when it was measured, as `YYYY-MM-DD` */
export function refusals(results: readonly TimingResult[], date: string): Section {
  const parts = results.map((result) => {
    const { title, samples, reference, rows, familyError } = result;
    const timesOf = ({ name, median: middle, quartiles }: TimingResult['reference']): string[] => [
      name,
      middle.toFixed(3),
      quartiles.map((value) => value.toFixed(2)).join('–'),
    ];
    const body = table(
      ['reason', 'median ms', 'quartiles ms', 'difference of medians µs', 'p', 'P(slower)', 'rank-biserial'],
      [
        [...timesOf(reference), '', '', '', ''],
        ...rows.map((row) => [
          ...timesOf(row),
          signed(row.medianDifferenceMicroseconds, 0),
          significance(row.p),
          row.test.superiority.toFixed(3),
          signed(row.test.rankBiserial, 3),
        ]),
      ],
    );
    return `### ${title}

${String(samples)} samples of each reason, interleaved at random. Mann–Whitney against “${reference.name}”, p with the Bonferroni correction;
a difference has p < ${String(familyError)}; P(slower) is the probability that a response for this reason takes longer.

${body}

${verdictOf(result)}`;
  });
  return {
    title: 'Nothing to learn from refusals',
    text: `Measured on ${date}: the time from writing a request to the first byte of its answer: the 401 of a sign-in, the 202 of a report. Cold: the account is not cached; warm: it has signed in. All responses must be equal in status, headers (except \`Date\` and \`X-Request-Id\`) and body.

${parts.join('\n\n')}`,
  };
}
