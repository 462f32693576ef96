import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ROOT } from './server-process.ts';

/** Where groups are made, and which file limits their memory: version 1 of control groups, and version 2. */
const HIERARCHIES = [
  { folder: '/sys/fs/cgroup/memory', limit: 'memory.limit_in_bytes' },
  { folder: '/sys/fs/cgroup', limit: 'memory.max' },
];
const REMOVE_ATTEMPTS = 50;
const REMOVE_POLL_MS = 100;

/** The options of Node that the image sets, by its Dockerfile. */
const imageOptions = (): string => {
  const options = /^ENV NODE_OPTIONS="(.+)"$/m.exec(readFileSync(path.join(ROOT, 'Dockerfile'), 'utf8'))?.[1];
  if (options === undefined) throw new Error('The Dockerfile sets no NODE_OPTIONS');
  return options;
};

/** The limits under which a server's memory is measured: those of a container, or as near as the machine allows. */
export interface MemoryLimits extends AsyncDisposable {
  /** For people, such as `a memory cgroup of 512 MiB and --max-old-space-size-percentage=55`. */
  readonly description: string;
  readonly nodeOptions: string;
  /** The control group that the server must enter; nothing if none can be made. */
  readonly group: string | undefined;
}

function makeGroup(name: string, limitMiB: number): string | undefined {
  for (const { folder, limit } of HIERARCHIES) {
    const group = path.join(folder, name);
    try {
      mkdirSync(group);
    } catch {
      continue;
    }
    // Without the file, the parent does not let its groups limit memory.
    if (existsSync(path.join(group, limit))) {
      writeFileSync(path.join(group, limit), String(limitMiB * 2 ** 20));
      return group;
    }
    rmdirSync(group);
  }
  return undefined;
}

/** A group can be removed once its last process is gone, which takes a moment. */
async function removeGroup(group: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      rmdirSync(group);
      return;
    } catch (error) {
      if (attempt === REMOVE_ATTEMPTS) throw error;
      await sleep(REMOVE_POLL_MS);
    }
  }
}

/** The image's options in a container with a limit of memory, for a process outside of any container. */
export const heapOptions = (limitMiB: number): string =>
  imageOptions().replace(
    /--max-old-space-size-percentage=(\d+)/,
    (_, share: string) => `--max-old-space-size=${String(Math.floor((limitMiB * Number(share)) / 100))}`,
  );

/** Makes a control group with a limit of memory. Disposal removes it; its processes must have ended by then. */
export function limitMemory(name: string, limitMiB: number): MemoryLimits {
  const options = imageOptions();
  const group = makeGroup(`${name}-${String(process.pid)}`, limitMiB);
  if (group !== undefined) {
    return {
      description: `in a memory cgroup of ${String(limitMiB)} MiB with the image’s \`${options}\``,
      nodeOptions: options,
      group,
      [Symbol.asyncDispose]: () => removeGroup(group),
    };
  }
  const nodeOptions = heapOptions(limitMiB);
  return {
    description: `with \`${nodeOptions}\`, which is what the image’s \`${options}\` comes to in ${String(limitMiB)} MiB: no memory cgroup can be made here`,
    nodeOptions,
    group: undefined,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}
