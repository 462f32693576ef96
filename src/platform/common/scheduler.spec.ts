import { Lifecycle, type ProcessRole } from './lifecycle.ts';
import { Scheduler } from './scheduler.ts';

const schedulers: Scheduler[] = [];
const schedulerOf = (role: ProcessRole): Scheduler => {
  const scheduler = new Scheduler(new Lifecycle(role));
  schedulers.push(scheduler);
  return scheduler;
};
afterEach(() => {
  for (const scheduler of schedulers.splice(0)) scheduler.onModuleDestroy();
});

/** Registers a task. @returns the number of its next run, each time it has run */
function runsOf(scheduler: Scheduler, everyMs: number, firstAfterMs?: number, fails = false): () => Promise<number> {
  let count = 0;
  let tell = (): void => undefined;
  const run = (): void => {
    count++;
    tell();
    if (fails) throw new Error('it fails');
  };
  scheduler.schedule({ name: 'Counting', everyMs, run, ...(firstAfterMs !== undefined && { firstAfterMs }) });
  return async () => {
    await new Promise<void>((resolve) => (tell = resolve));
    return count;
  };
}

it('runs a task again and again, even after it fails', async () => {
  const next = runsOf(schedulerOf('server'), 5, undefined, true);
  const first = await next();
  expect(await next()).toBe(first + 1);
});

it('runs a task the first time after the given time', async () => {
  const next = runsOf(schedulerOf('server'), 60_000, 0);
  expect(await next()).toBe(1);
});

it('runs no task in a command or after the stop', async () => {
  let count = 0;
  const task = { name: 'Counting', everyMs: 1, firstAfterMs: 0, run: () => count++ };
  schedulerOf('command').schedule(task);
  const stopped = schedulerOf('server');
  stopped.schedule(task);
  stopped.onModuleDestroy();
  const next = runsOf(schedulerOf('server'), 1);
  for (let i = 0; i < 3; i++) await next();
  expect(count).toBe(0);
});
