import { signInForm } from './accounts.ts';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { cpuSeconds } from './proc.ts';
import { ROOT, type ServerDefinition, ServerProcess } from './server-process.ts';
import { type Spread, spreadOf } from './statistics.ts';

export interface StartTimes {
  /** Milliseconds from the start of the process until it says that it listens. */
  readonly ready: Spread;
  /** Milliseconds until it has answered the first token request. */
  readonly firstToken: Spread;
  /** Processor time until it says that it listens, in seconds. */
  readonly cpuSeconds: Spread;
  /** Processor time of the command line's `--help`, in seconds. */
  readonly helpSeconds: Spread;
  /** Processor time of a command that reads the database, in seconds. */
  readonly commandSeconds: Spread;
}

/** Processor time of a command of the command line, in seconds. */
async function commandSeconds({ env }: ServerDefinition, args: readonly string[]): Promise<number> {
  // `times` of a shell: its own processor time, then that of its children, as 0m1.234s each.
  const script = '"$0" dist/src/cli.js "$@" > /dev/null && times';
  const { stdout } = await promisify(execFile)('bash', ['-c', script, process.execPath, ...args], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'], NODE_ENV: 'production', ...env },
  });
  const [, children = ''] = stdout.trim().split('\n');
  return [...children.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds),
    0,
  );
}

/** Starts a server several times on an existing database. @param folder the folder for its logs */
export async function measureStarts(definition: ServerDefinition, times: number, folder: string): Promise<StartTimes> {
  const ready: number[] = [];
  const firstToken: number[] = [];
  const cpu: number[] = [];
  const help: number[] = [];
  const command: number[] = [];
  for (let time = 0; time < times; time += 1) {
    await using server = await ServerProcess.start(definition, folder);
    cpu.push(cpuSeconds(server.pid));
    const answer = await fetch(`${server.origin}/generateToken`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: signInForm(1),
    });
    await answer.text();
    firstToken.push(server.ageMs);
    if (answer.status !== 200) throw new Error(`The first sign-in was answered with ${String(answer.status)}`);
    ready.push(server.startMs);
    help.push(await commandSeconds(definition, ['--help']));
    command.push(await commandSeconds(definition, ['keys', 'list']));
  }
  return {
    ready: spreadOf(ready),
    firstToken: spreadOf(firstToken),
    cpuSeconds: spreadOf(cpu),
    helpSeconds: spreadOf(help),
    commandSeconds: spreadOf(command),
  };
}
