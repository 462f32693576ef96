import { readdirSync, readFileSync } from 'node:fs';

/** Clock ticks a second, in which Linux counts processor time (`getconf CLK_TCK`): 100 on every platform of Node. */
const TICKS_PER_SECOND = 100;

const read = (pid: number, file: string): string => readFileSync(`/proc/${String(pid)}/${file}`, 'utf8');

/** The resident memory of a process now, in MiB. */
export function residentMiB(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(read(pid, 'status'))?.[1];
  return Number(kib) / 1024;
}

/** The fields of /proc/<pid>/stat after the name, which may contain anything: the state is the first. */
function statOf(pid: number): number[] {
  const stat = read(pid, 'stat');
  return stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
}

/** The processor time of a process with all its threads in user and in kernel mode, in seconds. */
export function modeSeconds(pid: number): { readonly user: number; readonly kernel: number } {
  const [, , , , , , , , , , , user = NaN, kernel = NaN] = statOf(pid);
  return { user: user / TICKS_PER_SECOND, kernel: kernel / TICKS_PER_SECOND };
}

/** The processor time that a process has used with all its threads, in seconds. */
export function cpuSeconds(pid: number): number {
  const { user, kernel } = modeSeconds(pid);
  return user + kernel;
}

/** How often the threads of a process that still run have left a core: to wait, or because others needed it. */
export function contextSwitches(pid: number): { readonly waiting: number; readonly preempted: number } {
  const statuses = readdirSync(`/proc/${String(pid)}/task`).map((task) => read(pid, `task/${task}/status`));
  const sum = (field: RegExp): number => statuses.reduce((total, text) => total + Number(field.exec(text)?.[1]), 0);
  return {
    waiting: sum(/^voluntary_ctxt_switches:\s+(\d+)$/m),
    preempted: sum(/^nonvoluntary_ctxt_switches:\s+(\d+)$/m),
  };
}

export function parentOf(pid: number): number {
  return statOf(pid)[1] ?? NaN;
}

/** The processor time of a process and of its children, those that have ended included, in seconds. */
export function familyCpuSeconds(pid: number): number {
  const [, , , , , , , , , , , , , ofEnded = NaN, systemOfEnded = NaN] = statOf(pid);
  const children = read(pid, `task/${String(pid)}/children`)
    .split(' ')
    .filter(Boolean)
    .map(Number);
  return [pid, ...children].reduce((sum, each) => sum + cpuSeconds(each), (ofEnded + systemOfEnded) / TICKS_PER_SECOND);
}

/**
 * The processor time that all programs together have used on a core, in seconds. The kernel's own time for interrupts
 * is left out: on the loopback interface that is the measured server's network traffic.
 */
export function coreSeconds(core: number): number {
  const line = new RegExp(`^cpu${String(core)} (\\d+) (\\d+) (\\d+) `, 'm').exec(readFileSync('/proc/stat', 'utf8'));
  return (line?.slice(1) ?? []).reduce((sum, ticks) => sum + Number(ticks), 0) / TICKS_PER_SECOND;
}
