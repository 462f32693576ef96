import {
  ACCOUNTS,
  ACTIVITY,
  CALL_COUNTS,
  type Capacity,
  INSERTED,
  POSTGRES_CPU,
  REDIS,
  REDIS_CPU,
  REQUESTS,
  STATEMENTS,
  type Totals,
  TRANSACTIONS,
  UPDATED,
  WAL,
} from './capacity-measure.ts';

/** What an instance on one core answers in a second, with 100,000 accounts in use. */
export interface Rates {
  readonly tokens: number;
  readonly calls: number;
}

const PARTNERS = 100_000;
const TOKENS = 10_000;
const CALLS = 100_000;
/** The share of its rate at which every instance runs. */
const HEADROOM = 0.7;
/** Rows that one instance writes at most, half of them by credential (`src/activity/usage`) and half by route (`calls`). */
const USAGE_ROWS_PER_SECOND = 500;
/** How long the counts of calls are kept. */
const KEPT_HOURS = 8 * 24;
/** Connections of an instance: its pool, and the one that listens. */
const CONNECTIONS = 11;
/** Updates of lastTokenAt and lastUsedAt a second: each at most once a minute. */
const LAST_USES = (2 * PARTNERS) / 60;
/** Rows of a batch. */
const BATCH_ROWS = 500;
const HEARTBEATS_PER_SECOND = 5;
/** The default of ACTIVITY_RETENTION_DAYS. */
const RETENTION_DAYS = 90;
const DAY_SECONDS = 86_400;

const number = (value: number, digits = 0): string =>
  value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
const of = (totals: Totals, name: string): number => totals[name] ?? NaN;

/** What the deployment comes to. */
function calculate({ idle, tokens, calls, tokenBytes, callBytes }: Capacity, rates: Rates) {
  const share = TOKENS / (HEADROOM * rates.tokens) + CALLS / (HEADROOM * rates.calls);
  const instances = Math.ceil(share);
  const thousands = TOKENS / 1000;
  // Rows for each account, however often it calls: limited by the instance.
  const usageRows = instances * USAGE_ROWS_PER_SECOND;
  // With so many partners, more tokens than here are the first of a partner in its minute.
  const moreLastUses = Math.max(0, LAST_USES - thousands * of(tokens, UPDATED));
  const perRow = (totals: Totals, name: string): number =>
    of(totals, name) / (of(totals, INSERTED) + of(totals, UPDATED));
  const otherRows = usageRows + moreLastUses;
  const atRest = (name: string): number => (instances * of(idle.totals, name)) / idle.seconds;
  const activity = of(tokens, ACTIVITY) / 1000;
  // Of the measured calls, each partner has one count by credential and one by route.
  const callCounts = (of(calls, CALL_COUNTS) * REQUESTS) / 1000 / ACCOUNTS;
  const callCountBytes = PARTNERS * instances * KEPT_HOURS * callCounts;
  return {
    share,
    instances,
    usageRows,
    otherRows,
    otherWal: perRow(calls, WAL),
    activity,
    callCounts,
    callCountBytes,
    batches: Math.max(thousands * of(tokens, TRANSACTIONS), instances * 4),
    statements: thousands * of(tokens, STATEMENTS) + otherRows / BATCH_ROWS + atRest(STATEMENTS),
    // The time of the guarded calls' few rows is too short to be measured.
    postgresCores:
      (thousands * of(tokens, POSTGRES_CPU) + otherRows * perRow(tokens, POSTGRES_CPU) + atRest(POSTGRES_CPU)) / 1000,
    wal: thousands * of(tokens, WAL) + otherRows * perRow(calls, WAL),
    redisCommands: thousands * of(tokens, REDIS) + atRest(REDIS),
    redisCores: (thousands * of(tokens, REDIS_CPU) + atRest(REDIS_CPU)) / 1000,
    connections: instances * CONNECTIONS,
    megabits: ((TOKENS * (tokenBytes.in + tokenBytes.out) + CALLS * (callBytes.in + callBytes.out)) * 8) / 1e6,
    diskPerDay: TOKENS * DAY_SECONDS * activity,
  };
}

type Calculated = ReturnType<typeof calculate>;

/** A part of the deployment that can run out. */
interface Part {
  readonly name: string;
  readonly needed: number;
  readonly bound: number;
  readonly unit: string;
  /** Why the bound is what it is. */
  readonly because: string;
  /** What to do when it gives in. */
  readonly then: string;
}

const partsOf = (sums: Calculated): Part[] => [
  {
    name: 'Redis, processor',
    needed: sums.redisCores,
    bound: 1,
    unit: 'core(s)',
    because: 'one thread runs all commands',
    then: 'Run it on a faster core. Beyond that, run without Redis: each instance then counts for itself, so that a limit holds for each instance; or divide the partners among several deployments.',
  },
  {
    name: 'PostgreSQL, processor',
    needed: sums.postgresCores,
    bound: 16,
    unit: 'cores',
    because: 'a large machine that clouds rent out',
    then: 'Move PostgreSQL to a machine with more cores. Beyond that, have partners use a token for as long as it is valid: most of this is sign-ins, and a longer `tokenTtlSeconds` makes them fewer.',
  },
  {
    name: 'PostgreSQL, WAL',
    needed: sums.wal / 1e6,
    bound: 125,
    unit: 'MB/s',
    because: 'what a plain cloud volume writes in a second, if nothing else does',
    then: 'Put the WAL on a volume with more throughput. Standbys need the same throughput over the network.',
  },
  {
    name: 'PostgreSQL, disk',
    needed: (sums.diskPerDay * RETENTION_DAYS + sums.callCountBytes) / 1e12,
    bound: 16,
    unit: 'TB',
    because: 'the largest plain cloud volume; sign-ins are kept for 90 days by default',
    then: `Lower \`ACTIVITY_RETENTION_DAYS\`: ${number(Math.floor((16e12 - sums.callCountBytes) / sums.diskPerDay))} days fit into 16 TB. A day is a partition, and dropping it costs nothing. A longer \`tokenTtlSeconds\` makes fewer sign-ins.`,
  },
  {
    name: 'PostgreSQL, connections',
    needed: sums.connections,
    bound: 500,
    unit: 'of them',
    because: 'each is a process, and more of them cost PostgreSQL noticeably',
    then: 'Put a pooler in transaction mode in between, and name PostgreSQL itself in `DATABASE_DIRECT_URL` for the connections that listen; or run fewer, larger instances.',
  },
  {
    name: 'network of the balancer, both directions',
    needed: sums.megabits / 1000,
    bound: 10,
    unit: 'Gbit/s',
    because: 'a common network card',
    then: 'Spread the addresses of the service over several balancers. Most of it is the tokens that come with each guarded call.',
  },
];

const amount = (value: number): string => number(value, value < 10 ? 2 : 0);

function firstToGive(sums: Calculated): string {
  const parts = partsOf(sums).sort((a, b) => b.needed / b.bound - a.needed / a.bound);
  const [first, second] = parts;
  if (!first || !second) throw new Error('There are no parts');
  const share = (part: Part): string => `${number((100 * part.needed) / part.bound)} %`;
  const rows = parts.map(
    (part) =>
      `| ${part.name} | ${amount(part.needed)} ${part.unit} | ${number(part.bound)} ${part.unit}: ${part.because} | ${share(part)} |`,
  );
  const verdict =
    first.needed > first.bound
      ? `**${first.name}** gives in first, below this load: it needs ${share(first)} of its bound.`
      : `At this load everything is within its bound. **${first.name}** gives in first when the load grows, at ${number(first.bound / first.needed, 1)} times this load.`;
  return `## Which part gives in first

| part | needed | bound | share |
| --- | ---: | --- | ---: |
${rows.join('\n')}

${verdict} Next is ${second.name}, at ${share(second)}.
Instances are not in the table, because more of them can be added: they share nothing but PostgreSQL and Redis.

What to do when a part gives in:

${parts.map(({ name, then }) => `- **${name}.** ${then}`).join('\n')}
`;
}

function arithmetic(capacity: Capacity, rates: Rates, sums: Calculated): string {
  const { idle, tokens, tokenBytes, callBytes } = capacity;
  const { instances } = sums;
  const idleRate = (name: string): number => of(idle.totals, name) / idle.seconds;
  const rows: [what: string, sum: string, result: string][] = [
    [
      'instances, a core each',
      `${number(TOKENS)} ÷ (${String(HEADROOM)} × ${number(rates.tokens)}) + ${number(CALLS)} ÷ (${String(HEADROOM)} × ${number(rates.calls)}) = ${number(sums.share, 1)}`,
      number(instances),
    ],
    [
      'PostgreSQL: statements a second',
      `${number(TOKENS / 1000)} × ${number(of(tokens, STATEMENTS), 1)} + ${number(sums.otherRows)} ÷ ${String(BATCH_ROWS)} + ${String(instances)} × ${number(idleRate(STATEMENTS), 1)}`,
      number(sums.statements),
    ],
    [
      'PostgreSQL: batches of activity a second',
      `the greater of ${number(TOKENS / 1000)} × ${number(of(tokens, TRANSACTIONS), 1)} and ${String(instances)} × 4`,
      number(sums.batches),
    ],
    [
      'PostgreSQL: rows of activity a second',
      `${number(TOKENS / 1000)} × ${number(of(tokens, INSERTED))}`,
      number((TOKENS / 1000) * of(tokens, INSERTED)),
    ],
    [
      'PostgreSQL: updates of lastTokenAt and lastUsedAt a second, at most',
      `2 × ${number(PARTNERS)} ÷ 60 s`,
      number(LAST_USES),
    ],
    [
      'PostgreSQL: rows of call counts a second, at most',
      `${String(instances)} × ${number(USAGE_ROWS_PER_SECOND)}`,
      number(sums.usageRows),
    ],
    [
      'PostgreSQL: rows beside those of tokens a second, at most',
      'call counts, and last uses that the tokens above did not have',
      number(sums.otherRows),
    ],
    [
      'PostgreSQL: WAL a second',
      `${number(TOKENS / 1000)} × ${number(of(tokens, WAL) / 1e3)} kB + ${number(sums.otherRows)} × ${number(sums.otherWal)} bytes`,
      `${number(sums.wal / 1e6, 1)} MB`,
    ],
    [
      'PostgreSQL: cores',
      `${number(TOKENS / 1000)} × ${number(of(tokens, POSTGRES_CPU))} ms, ${number(sums.otherRows)} rows as dear as theirs, and ${String(instances)} × ${number(idleRate(POSTGRES_CPU), 1)} ms`,
      number(sums.postgresCores, 2),
    ],
    [
      'PostgreSQL: heartbeats a second',
      `${String(instances)} × ${String(HEARTBEATS_PER_SECOND)}`,
      number(instances * HEARTBEATS_PER_SECOND),
    ],
    ['PostgreSQL: connections', `${String(instances)} × (10 + 1)`, number(sums.connections)],
    [
      'Redis: commands a second',
      `${number(TOKENS / 1000)} × ${number(of(tokens, REDIS))} + ${String(instances)} × ${number(idleRate(REDIS), 1)}`,
      number(sums.redisCommands),
    ],
    [
      'Redis: cores',
      `${number(TOKENS / 1000)} × ${number(of(tokens, REDIS_CPU), 1)} ms + ${String(instances)} × ${number(idleRate(REDIS_CPU), 1)} ms`,
      number(sums.redisCores, 2),
    ],
    [
      'network of all instances, both directions',
      `(${number(TOKENS)} × ${number(tokenBytes.in + tokenBytes.out)} + ${number(CALLS)} × ${number(callBytes.in + callBytes.out)}) × 8`,
      `${number(sums.megabits)} Mbit/s`,
    ],
    [
      'activity on disk, a day',
      `${number(TOKENS * DAY_SECONDS)} tokens × ${number(sums.activity)} bytes`,
      `${number(sums.diskPerDay / 1e9)} GB`,
    ],
    [
      'call counts on disk, if every partner calls each instance in each hour',
      `${number(PARTNERS)} × ${String(instances)} × ${String(KEPT_HOURS)} h × ${number(sums.callCounts)} bytes`,
      `${number(sums.callCountBytes / 1e9)} GB`,
    ],
  ];
  return rows.map((row) => `| ${row.join(' | ')} |`).join('\n');
}

/** @param rates from the results of the benchmark */
export function renderCapacity(capacity: Capacity, rates: Rates): string {
  const { idle, tokens, calls, tokenBytes, callBytes } = capacity;
  const sums = calculate(capacity, rates);
  const rows = Object.keys(tokens).map((name) =>
    [
      name,
      number((idle.totals[name] ?? 0) / idle.seconds, 1),
      number(of(tokens, name), 1),
      number(of(calls, name), 1),
    ].join(' | '),
  );
  return `# Capacity

Written by \`node bench/capacity.ts\`: one instance with its own PostgreSQL and Redis, ${number(REQUESTS)} tokens for
${number(ACCOUNTS)} partners, then ${number(REQUESTS)} guarded calls with them, as fast as they are answered. The cost of the same time at rest
is subtracted.

| | at rest, a second | 1,000 tokens | 1,000 guarded calls |
| --- | ---: | ---: | ---: |
${rows.map((row) => `| ${row} |`).join('\n')}
| Network: bytes of a request, headers included | | ${number(tokenBytes.in)} | ${number(callBytes.in)} |
| Network: bytes of its response | | ${number(tokenBytes.out)} | ${number(callBytes.out)} |

A batch of sign-in activity has at most 500 records. Below 2,000 tokens a second, an instance writes four batches a
second of any size, so a token costs more statements than shown here. Guarded calls insert and update rows with the
call counts of each credential and of each partner's routes: their number grows with the partners, the routes that they
call and time, not with the calls.
The heartbeat of each instance (five times a second, on its listening connection) is not among the statements.
Processor times are upper bounds: a server with more to do at once needs less for each.

## 100,000 partners, ${number(TOKENS)} tokens and ${number(CALLS)} guarded calls a second

Calculated from these figures and from those of one instance on one core in [RESULTS.md](RESULTS.md): ${number(rates.tokens)} tokens or
${number(rates.calls)} guarded calls a second with 100,000 accounts in use; every instance at ${number(HEADROOM * 100)} % of that.

| what | arithmetic | result |
| --- | --- | ---: |
${arithmetic(capacity, rates, sums)}

${firstToGive(sums)}`;
}
