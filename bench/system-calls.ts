import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { accountNumbers, signInForm } from './accounts.ts';
import { createDatabase } from './database.ts';
import { type LoadPlan, runLoad } from './load.ts';
import { contextSwitches, modeSeconds } from './proc.ts';
import { migrate, seedChannelUsers } from './seed.ts';
import { pinToGeneratorCore, type ServerDefinition, ServerProcess } from './server-process.ts';
import { runProgram } from './terminal.ts';
import { latchkey, limit } from './variants.ts';

/**
 * Counts what the kernel does for each answer of Latchkey and of the bare server: system calls (by strace), context
 * switches, and time in user and in kernel mode (from /proc, without strace).
 *
 *     npm run build && node bench/system-calls.ts
 */

const ACCOUNTS = 1000;
const COMPILE_SECONDS = 12;
const SECONDS = 6;
/** Rarer calls for each answer are left out. */
const SHOWN_FROM = 0.005;

const LOADS = ['GET /me', 'POST /generateToken'] as const;

type Load = (typeof LOADS)[number];
type Counts = Map<string, number>;

/** What the kernel has counted for a process so far. */
function kernelCounts(pid: number): Counts {
  const { waiting, preempted } = contextSwitches(pid);
  const { user, kernel } = modeSeconds(pid);
  return new Map([
    ['context switches to wait', waiting],
    ['context switches for others', preempted],
    ['µs in user mode', user * 1e6],
    ['µs in kernel mode', kernel * 1e6],
  ]);
}

/** @returns the counts of each system call between the start of strace and the end of `work`, and what `work` returns */
async function traced<T>(pid: number, file: string, work: () => Promise<T>): Promise<[Counts, T]> {
  const strace = spawn('strace', ['-c', '-f', '-U', 'calls,name', '-o', file, '-p', String(pid)], { stdio: 'ignore' });
  const [error] = (await Promise.race([once(strace, 'error'), once(strace, 'spawn')])) as [Error?];
  if (error) throw new Error(`strace cannot be run: ${error.message}. Install the package strace.`);
  const result = await work();
  strace.kill('SIGINT');
  await once(strace, 'exit');
  const lines = (await readFile(file, 'utf8')).matchAll(/^\s*(\d+)\s+([a-z]\w+)$/gm);
  const counts: Counts = new Map([...lines].map(([, calls, name = '']) => [name, Number(calls)]));
  if (counts.size === 0) throw new Error('strace has counted nothing: may this user trace other processes?');
  return [new Map([...counts].filter(([name]) => name !== 'total')), result];
}

/** Both kinds of counts for each answer of a load. */
async function countsOf(server: ServerProcess, plan: LoadPlan, folder: string): Promise<Counts> {
  await runLoad({ ...plan, pace: { kind: 'random', warmUpSeconds: 0, seconds: COMPILE_SECONDS } });
  const before = kernelCounts(server.pid);
  const untraced = await runLoad(plan);
  const after = kernelCounts(server.pid);
  const [calls, whileTraced] = await traced(server.pid, path.join(folder, 'strace'), () => runLoad(plan));
  const ofKernel = [...after].map(([name, count]) => [name, (count - (before.get(name) ?? 0)) / untraced.answers]);
  const ofCalls = [...calls].map(([name, count]) => [name, count / whileTraced.answers]);
  const total = [...calls.values()].reduce((sum, count) => sum + count, 0) / whileTraced.answers;
  return new Map([...ofKernel, ['system calls', total], ...ofCalls] as [string, number][]);
}

async function countsOfBothLoads(definition: ServerDefinition, folder: string): Promise<Record<Load, Counts>> {
  const forms = path.join(folder, 'forms');
  await writeFile(forms, accountNumbers(ACCOUNTS).map(signInForm).join('\n'));
  const tokens = path.join(folder, 'tokens');
  await using server = await ServerProcess.start(definition, folder);
  const target = { origin: server.origin, serverPid: server.pid };
  const signIn = { method: 'POST', path: '/generateToken', part: 'form', file: forms } as const;
  const use = { method: 'GET', path: '/me', part: 'bearer', file: tokens } as const;
  const pace = { kind: 'random', warmUpSeconds: 0, seconds: SECONDS } as const;
  await runLoad({ ...target, requests: signIn, pace: { kind: 'once', answersFile: tokens } });
  return {
    'GET /me': await countsOf(server, { ...target, requests: use, pace }, folder),
    'POST /generateToken': await countsOf(server, { ...target, requests: signIn, pace }, folder),
  };
}

function show(load: Load, own: Counts, bare: Counts): void {
  const names = [...new Set([...own.keys(), ...bare.keys()])];
  const rows = names
    .map((name) => ({ name, own: own.get(name) ?? 0, bare: bare.get(name) ?? 0 }))
    .filter((row) => Math.max(row.own, row.bare) >= SHOWN_FROM)
    .map(({ name, ...counts }) => `| ${name} | ${counts.own.toFixed(2)} | ${counts.bare.toFixed(2)} |`);
  process.stdout.write(
    `\n${load}, for each answer\n\n| | Latchkey | limit |\n| --- | ---: | ---: |\n${rows.join('\n')}\n`,
  );
}

async function main(): Promise<void> {
  pinToGeneratorCore();
  const folder = await mkdtemp(path.join(tmpdir(), 'latchkey-system-calls-'));
  try {
    await using database = await createDatabase('system-calls');
    await migrate(database.url);
    await seedChannelUsers(database.url, ACCOUNTS);
    const own = await countsOfBothLoads(latchkey('latchkey', database.url), folder);
    const bare = await countsOfBothLoads(limit(ACCOUNTS), folder);
    for (const load of LOADS) show(load, own[load], bare[load]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await runProgram(main);
