import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { accountNumbers, signInForm } from './accounts.ts';
import { createDatabase } from './database.ts';
import { type LoadResult, type RequestSet, runLoad } from './load.ts';
import { migrate, seedChannelUsers } from './seed.ts';
import { pinToGeneratorCore, ROOT, type ServerDefinition, ServerProcess } from './server-process.ts';
import { runProgram } from './terminal.ts';
import { latchkey, limit } from './variants.ts';

/**
 * Shows where a server's time goes under load:
 *
 *     npm run build && node bench/profile.ts [generate|guard] [--limit] [--keep file.cpuprofile]
 *
 * `--limit` profiles the bare server instead of Latchkey. The kept file opens in Chrome's developer tools.
 */

const ACCOUNTS = 1000;
const WARM_UP_SECONDS = 2;
const SECONDS = 10;
const SHOWN_FUNCTIONS = 40;

/** V8's format; times are microseconds of the monotonic clock. */
interface CpuProfile {
  readonly startTime: number;
  readonly nodes: readonly { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** @returns who a function belongs to: an npm package, Latchkey, Node, or the engine itself */
function packageOf(url: string, functionName: string): string {
  const installed = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url)?.[1];
  if (installed !== undefined) return installed;
  if (url.startsWith('node:')) return 'node';
  if (url.startsWith('file:')) return 'own code';
  return functionName.startsWith('(') ? functionName : 'engine';
}

const whereOf = (url: string, line: number): string =>
  url === '' ? '' : `${url.replace(/^file:\/\//, '').replace(`${ROOT}/`, '')}:${String(line + 1)}`;

/** Sums the time between two moments, grouped by a name of each node. */
function selfTime(
  { startTime, nodes, samples, timeDeltas }: CpuProfile,
  { from, to }: { from: number; to: number },
  nameOf: (node: CpuProfile['nodes'][number]) => string,
): Times {
  const names = new Map(nodes.map((node) => [node.id, nameOf(node)]));
  const sums = new Map<string, number>();
  let at = startTime;
  samples.forEach((id, index) => {
    const delta = timeDeltas[index] ?? 0;
    at += delta;
    const name = names.get(id) ?? '';
    if (at >= from && at <= to) sums.set(name, (sums.get(name) ?? 0) + delta);
  });
  return [...sums].sort(([, a], [, b]) => b - a);
}

type Times = [name: string, microseconds: number][];

const sum = (times: Times): number => times.reduce((total, [, time]) => total + time, 0);

/** @param total what the shares are shares of @param answers how many answers took this time */
function show(title: string, times: Times, total: number, answers: number): void {
  const lines = times.map(([name, time]) => {
    const share = `${((time / total) * 100).toFixed(1)} %`.padStart(7);
    return `${share} ${(time / answers).toFixed(2).padStart(8)} µs  ${name}`;
  });
  process.stdout.write(`\n${title} (share of the core's time, microseconds for each answer)\n${lines.join('\n')}\n`);
}

function report(profile: CpuProfile, { window, answers }: LoadResult): void {
  const byPackage = selfTime(profile, window, ({ callFrame }) => packageOf(callFrame.url, callFrame.functionName));
  const byFunction = selfTime(profile, window, ({ callFrame: { functionName, url, lineNumber } }) =>
    [packageOf(url, functionName), functionName || '(anonymous)', whereOf(url, lineNumber)].join('  '),
  );
  const total = sum(byPackage);
  show('By package', byPackage, total, answers);
  show('The functions with the most time of their own', byFunction.slice(0, SHOWN_FUNCTIONS), total, answers);
}

/** @returns the file that the profiler wrote */
async function profile(definition: ServerDefinition, guard: boolean, folder: string): Promise<string> {
  const forms = path.join(folder, 'forms');
  await writeFile(forms, accountNumbers(ACCOUNTS).map(signInForm).join('\n'));
  const signIn: RequestSet = { method: 'POST', path: '/generateToken', part: 'form', file: forms };
  const tokens = path.join(folder, 'tokens');
  const requests: RequestSet = guard ? { method: 'GET', path: '/me', part: 'bearer', file: tokens } : signIn;
  const profiled = { ...definition, args: ['--cpu-prof', `--cpu-prof-dir=${folder}`, ...definition.args] };
  let result: LoadResult;
  {
    await using server = await ServerProcess.start(profiled, folder);
    const { origin, pid: serverPid } = server;
    await runLoad({ origin, serverPid, requests: signIn, pace: { kind: 'once', answersFile: tokens } });
    const pace = { kind: 'random', warmUpSeconds: WARM_UP_SECONDS, seconds: SECONDS } as const;
    result = await runLoad({ origin, serverPid, requests, pace });
  }
  process.stdout.write(
    `${definition.name}, ${requests.path}, under the profiler: ${result.perSecond.toFixed(0)} answers a second, ` +
      `p50 ${result.p50Ms.toFixed(2)} ms, p99 ${result.p99Ms.toFixed(2)} ms; the server used ` +
      `${(result.serverBusy * 100).toFixed(0)} % of its core, others ${(result.othersBusy * 100).toFixed(0)} %\n`,
  );
  const name = (await readdir(folder)).find((file) => file.endsWith('.cpuprofile'));
  if (name === undefined) throw new Error('The server left no profile');
  const file = path.join(folder, name);
  report(JSON.parse(await readFile(file, 'utf8')) as CpuProfile, result);
  return file;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { limit: { type: 'boolean', default: false }, keep: { type: 'string' } },
  });
  const [load = 'generate'] = positionals;
  if (load !== 'generate' && load !== 'guard') throw new Error(`Which load is "${load}"? generate or guard`);
  pinToGeneratorCore();
  const folder = await mkdtemp(path.join(tmpdir(), 'latchkey-profile-'));
  try {
    await using database = await createDatabase('profile');
    if (!values.limit) {
      await migrate(database.url);
      await seedChannelUsers(database.url, ACCOUNTS);
    }
    const definition = values.limit ? limit(ACCOUNTS) : latchkey('latchkey', database.url);
    const file = await profile(definition, load === 'guard', folder);
    if (values.keep !== undefined) await copyFile(file, values.keep);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await runProgram(main);
