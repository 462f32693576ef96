import { isWithin, type PlanFigure, type Plans } from './plans.ts';

/** Why a request or job is above its bound, as far as it is known, by a pattern of what it is. */
const REASONS: [pattern: RegExp, reason: string][] = [
  [
    /&q=partner-\d+&expiringWithinDays=/,
    'The text matches 1,000 partners, and a fifth of all credentials expire, so the search rightly begins with the text and looks up the credentials of each partner that it finds. The bound has room for the 200 matches, not for the 1,000 that are checked.',
  ],
  [
    /sort=lastTokenAt&expiringWithinDays=/,
    'None of the partners that come first in this order expires: 300,000 have never obtained a token. The walk gives up after 1,020 of them, and the search that follows reads every partner. To avoid it, an index would have to hold both the last use and the expiry, and each token would have to update it.',
  ],
  [
    /activity\?outcome=refused/,
    'The partner has 100,000 tokens and no refusal. The index on sign-ins is by partner and time, so each of its sign-ins is read. An index on refusals alone would show at once that there are none.',
  ],
];

const number = (value: number): string => Math.round(value).toLocaleString('en');

/** The path of a request, without the ids that differ from run to run. */
const shown = ({ what }: PlanFigure): string => {
  const text = what.replaceAll(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '…');
  return text.startsWith('/')
    ? `\`${text.replace(', second page', '')}\`${text.includes(', second page') ? ', second page' : ''}`
    : text;
};

const row = (figure: PlanFigure): string => {
  const { statements, buffers, rows, milliseconds, bound } = figure;
  const outcome = isWithin(figure) ? 'yes' : '**no**';
  return `| ${shown(figure)} | ${number(statements)} | ${number(buffers)} | ${number(rows)} | ${milliseconds.toFixed(1)} | ${number(bound)} | ${outcome} |`;
};

const HEAD = `| what | statements | buffers | rows | ms | bound | within |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |`;

const reasonOf = ({ what }: PlanFigure): string =>
  REASONS.find(([pattern]) => pattern.test(what))?.[1] ?? 'The reason is not known yet.';

function misses(figures: readonly PlanFigure[]): string {
  const missed = figures.filter((figure) => !isWithin(figure));
  if (missed.length === 0) return 'All are within their bounds.';
  const byReason = [...Map.groupBy(missed, reasonOf)];
  return byReason.map(([reason, of]) => `${HEAD}\n${of.map(row).join('\n')}\n\n${reason}`).join('\n\n');
}

export function renderPlans({ scale, figures, bytes, version }: Plans): string {
  const kinds = [...Map.groupBy(figures, ({ kind }) => kind)];
  const within = figures.filter(isWithin).length;
  return `# Plans at a million partners

Written by \`npm run bench -- --plans\`, which fails when a figure is above its bound. One instance on a database of
${number(scale.partners)} partners with their credentials, ${number(scale.signIns)} sign-ins of 90 days and ${number(scale.events)} audit events
(${(bytes / 1e9).toFixed(1)} GB, PostgreSQL ${version}). Figures are those of \`pg_stat_statements\` for the statements that the server itself sends: buffers are
pages of 8 kB that PostgreSQL looks at, whether they are in memory or not. Unlike the milliseconds, which are only for
information, they do not depend on the machine.

${number(within)} of ${number(figures.length)} are within their bounds.

## Above their bounds

${misses(figures)}

${kinds
  .map(([{ title, reason, per }, of]) => {
    const column =
      per === 'page' ? ' Buffers, rows and milliseconds are those of one execution of the dearest statement.' : '';
    return `## ${title}\n\nBound: ${reason}${column}\n\n${HEAD}\n${of.map(row).join('\n')}`;
  })
  .join('\n\n')}
`;
}
