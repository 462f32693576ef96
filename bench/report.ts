import type { Contender, LatchkeyAtSize } from './contenders.ts';
import { goalsOf, ratios, resultsOf } from './goals.ts';
import { CONNECTIONS, type LoadResult } from './load.ts';
import type { Measured } from './measure.ts';
import { type Section, table } from './section.ts';
import { GENERATOR_CORE, SERVER_CORE } from './server-process.ts';
import { median, type Spread, spreadOf } from './statistics.ts';

const INTRODUCTION = `# Results of the benchmark

Written by \`npm run bench\`; \`npm run bench -- --timing\` renews only the section on refusals, and
\`node bench/beside.ts\` only that on other work.
`;

const count = (value: number): string => Math.round(value).toLocaleString('en');
const rate = (value: number): string => (value < 100 ? value.toFixed(1) : count(value));
const ratio = (value: number): string => (value < 10 ? value.toFixed(2) : value.toFixed(0));
const seconds = (value: number): string => value.toFixed(2);
const share = (value: number): string => `${(value * 100).toFixed(0)} %`;
const withRange = ({ median: middle, min, max }: Spread, format: (value: number) => string): string =>
  `${format(middle)} (${format(min)}–${format(max)})`;

const NAMES: Record<string, string> = {
  floor: 'floor: bare node:http, form parsing, a constant answer',
  'oidc-provider': 'oidc-provider: client credentials, JWT access token ES256, in-memory adapter',
};

function contenderRow(measured: Measured, contender: Contender, limit: Contender, name: string): string[] {
  const results = resultsOf(measured, contender);
  const middle = (pick: (result: LoadResult) => number): number => median(results.map(pick));
  return [
    name,
    withRange(spreadOf(results.map(({ cpuMicroseconds }) => cpuMicroseconds)), rate),
    contender === limit ? '1' : withRange(ratios(measured, contender, limit), ratio),
    withRange(spreadOf(results.map(({ perSecond }) => perSecond)), rate),
    middle(({ p50Ms }) => p50Ms).toFixed(2),
    middle(({ p99Ms }) => p99Ms).toFixed(2),
    share(middle(({ othersBusy }) => othersBusy)),
    share(middle(({ generatorBusy }) => generatorBusy)),
  ];
}

const CONTENDER_HEAD = [
  'variant',
  'CPU µs an answer',
  '÷ limit',
  'answers a second',
  'p50 ms',
  'p99 ms',
  'server’s core: others',
  'generator’s core',
];

const latchkeyName = ({ users }: LatchkeyAtSize): string => `Latchkey, ${count(users)} channel users`;

/** Above these shares of a core's time, a figure reflects other programs than the server. */
const BUSY_GENERATOR = 0.9;
const BUSY_OTHERS = 0.15;

/** Caveats for the figures of some variants; empty if nothing disturbed them. */
function doubts(measured: Measured): string {
  const listOf = (pick: (result: LoadResult) => number, above: number): string =>
    [...measured.rounds]
      .filter(([, results]) => median(results.map(pick)) > above)
      .map(([{ name, requests }]) => `${name} \`${requests.path}\``)
      .join(', ');
  const generator = listOf(({ generatorBusy }) => generatorBusy, BUSY_GENERATOR);
  const others = listOf(({ othersBusy }) => othersBusy, BUSY_OTHERS);
  return [
    ...(generator === ''
      ? []
      : [`The generator was nearly as busy as it can be for: ${generator}; a server may do better.`]),
    ...(others === ''
      ? []
      : [`More than ${share(BUSY_OTHERS)} of the server’s core went to other programs for: ${others}.`]),
  ]
    .map((sentence) => `\n\n${sentence}`)
    .join('');
}

function conditions(measured: Measured, machine: readonly (readonly [string, string])[]): Section {
  const { pace, compilation } = measured.scale;
  const rounds = resultsOf(measured, measured.limit.generate).length;
  const lines = machine.map(([name, value]) => `- ${name}: ${value}`);
  return {
    title: 'Conditions',
    text: `${lines.join('\n')}

Each server runs as a production build, pinned to core ${String(SERVER_CORE)}, and writes its log to a file; the load
generator (autocannon) is pinned to core ${String(GENERATOR_CORE)}. PostgreSQL is pinned to neither and uses both.
Requests come over ${String(CONNECTIONS)} keep-alive connections, each with one request in progress, and are drawn at
random from those of all accounts in use. ${rounds === 1 ? 'One round' : `${String(rounds)} rounds`} of ${String(pace.seconds)} s, after ${String(pace.warmUpSeconds)} s of warm-up; each round runs all
variants in turn. A round of ${String(compilation.seconds)} s before them is not counted, since V8 compiles what a server runs during its first
100,000 answers or so. Figures are medians of the rounds, with the lowest and the highest in parentheses. CPU is the
processor time of the server, user and system time of all its threads, which a busy machine changes less than rates;
ratios compare it in the same round. Any response other than 2xx fails the run. Latchkey's audit, activity, limiter and
account checks are on; its settings are the defaults.${doubts(measured)}`,
  };
}

function generating(measured: Measured): Section {
  const { floor, limit, oidcProvider, oauth2Server, tutorial, latchkey } = measured;
  const row = (contender: Contender, name: string): string[] => contenderRow(measured, contender, limit.generate, name);
  return {
    title: 'Generating a token',
    text: table(CONTENDER_HEAD, [
      row(floor, NAMES['floor'] ?? ''),
      row(limit.generate, 'limit: bare node:http, form parsing, SHA-256, a Map, ES256 by node:crypto'),
      ...latchkey.map((size) => row(size.generate, latchkeyName(size))),
      row(oidcProvider, NAMES['oidc-provider'] ?? ''),
      row(oauth2Server, '@node-oauth/oauth2-server: client credentials, JWT access token ES256, model in memory'),
      row(tutorial.generate, 'tutorial: NestJS on Express, passport-local, bcrypt 10, TypeORM, HS256'),
    ]).concat(`

None of the others revokes a token within a second: their tokens are valid until they expire. better-auth is missing,
because the newest \`@better-auth/oauth-provider\` (1.7.5) requires another version of its own core than the newest
\`better-auth\` (1.7.25), so that the two cannot be installed together without an override.`),
  };
}

function guarding(measured: Measured): Section {
  const { limit, tutorial, guardPeers, latchkey } = measured;
  const row = (contender: Contender, name: string): string[] => contenderRow(measured, contender, limit.guard, name);
  return {
    title: 'Using a token',
    text: table(CONTENDER_HEAD, [
      row(limit.guard, 'limit: bare node:http, a Map of verified tokens'),
      ...latchkey.map((size) => row(size.guard, latchkeyName(size))),
      ...guardPeers.map((peer) => row(peer, `${peer.name}, verifying Latchkey’s tokens by its JWKS`)),
      row(tutorial.guard, 'tutorial: passport-jwt, a user read per call'),
    ]).concat(`

Of these, only Latchkey refuses a token within a second of its revocation. None of the peers does: they accept a token
until it expires.`),
  };
}

function growth(measured: Measured): Section {
  const [smallest] = measured.latchkey;
  if (!smallest) throw new Error('Latchkey was not measured');
  const loads = [
    ['generate', (size: LatchkeyAtSize) => size.generate, (size: LatchkeyAtSize) => size.coldGenerate],
    ['guard', (size: LatchkeyAtSize) => size.guard, (size: LatchkeyAtSize) => size.coldGuard],
  ] as const;
  const rows = loads.flatMap(([name, contenderOf, coldOf]) =>
    measured.latchkey.map((size) => {
      const cold = coldOf(size);
      return [
        `${name}, ${count(size.users)}`,
        count(size.workingSet),
        withRange(spreadOf(resultsOf(measured, contenderOf(size)).map(({ cpuMicroseconds }) => cpuMicroseconds)), rate),
        withRange(ratios(measured, contenderOf(size), contenderOf(smallest)), ratio),
        rate(cold.cpuMicroseconds),
        cold.p50Ms.toFixed(2),
        cold.p99Ms.toFixed(2),
      ];
    }),
  );
  return {
    title: 'How cost grows with the number of channel users',
    text: `${table(['load, channel users', 'in use', 'warm: CPU µs', '÷ smallest', 'cold: CPU µs', 'cold p50 ms', 'cold p99 ms'], rows)}

Users in use are drawn uniformly from all. Warm: the process has seen each of them before. Cold: each of them once,
in a process that has compiled its code but cached neither users nor tokens, so that every request reads the
database.`,
  };
}

function memoryAndStart(measured: Measured): Section {
  const { latchkey, starts, scale } = measured;
  const rows = latchkey.map((size) => {
    const underLoad = [...resultsOf(measured, size.generate), ...resultsOf(measured, size.guard)];
    const { atRest, allTokensUsed, allSignedIn } = size.residentMiB;
    const highest = Math.max(...underLoad.map(({ residentMiB }) => residentMiB));
    return [
      `${count(size.users)} (${count(size.workingSet)} in use)`,
      ...[atRest, allTokensUsed, allSignedIn, highest].map(count),
    ];
  });
  const limits = latchkey
    .map((size) => `${count(size.users)} channel users: ${size.limits ?? 'without a limit'}.`)
    .join(' ');
  return {
    title: 'Memory and start',
    text: `Resident memory in MiB of the process that is also loaded: a few seconds after the start, after each token of the users
in use was used once, after each of these users signed in once too, and the highest under load.

${table(['channel users', 'at rest', 'all tokens used', 'all signed in', 'highest under load'], rows)}

${limits}

From the start of the process on an existing database, in milliseconds, median of ${String(scale.starts)} starts:

${table(
  ['until', 'ms'],
  [
    ['ready (`Listening on`)', withRange(starts.ready, count)],
    ['first token answered', withRange(starts.firstToken, count)],
  ],
)}

Processor time in seconds:

${table(
  ['of', 's'],
  [
    ['a start until `Listening on`', withRange(starts.cpuSeconds, seconds)],
    ['`cli.js --help`', withRange(starts.helpSeconds, seconds)],
    ['`cli.js keys list`', withRange(starts.commandSeconds, seconds)],
  ],
)}`,
  };
}

/** What was to be reached, and whether it was. */
export function goals(measured: Measured): Section {
  const rows = goalsOf(measured).map(({ text, target, figure, met }) => [
    text,
    target,
    figure,
    met ? 'met' : '**missed**',
  ]);
  const outcomes = table(['goal', 'target', 'figure', 'outcome'], rows);
  return { title: 'Goals', text: `${outcomes}${doubts(measured)}` };
}

/** Everything except the section on refusals, in two parts: before and after it. */
export function performanceSections(
  measured: Measured,
  machine: readonly (readonly [string, string])[],
): { before: Section[]; after: Section[] } {
  return {
    before: [
      conditions(measured, machine),
      generating(measured),
      guarding(measured),
      growth(measured),
      memoryAndStart(measured),
    ],
    after: [goals(measured)],
  };
}

export const render = (sections: readonly Section[]): string =>
  [INTRODUCTION, ...sections.map(({ title, text }) => `## ${title}\n\n${text}\n`)].join('\n');

/** Replaces the section with the same title, or appends the section. */
export function replaceSection(document: string, section: Section): string {
  const [head = '', ...parts] = document.split(/^## /m);
  const sections = parts.map((part) => {
    const end = part.indexOf('\n');
    return { title: part.slice(0, end), text: part.slice(end).trim() };
  });
  const at = sections.findIndex(({ title }) => title === section.title);
  sections.splice(at === -1 ? sections.length : at, at === -1 ? 0 : 1, section);
  return [head, ...sections.map(({ title, text }) => `## ${title}\n\n${text}\n`)].join('\n').replace(/\n{3,}/g, '\n\n');
}
