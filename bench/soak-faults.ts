import { setTimeout as sleep } from 'node:timers/promises';
import type { Fleet } from '../test/support/fleet.ts';
import type { OwnPostgres, OwnRedis } from './own-servers.ts';

const FREEZE_MS = 2_000;

interface Parts {
  readonly fleet: Fleet;
  readonly postgres: OwnPostgres;
  readonly redis: OwnRedis;
}

export type Fault = [what: string, inject: (parts: Parts) => Promise<void>];

const ROLLING_RESTART: Fault = [
  'rolling restart',
  async ({ fleet }) => {
    for (const instance of fleet.instances) {
      const { exit, ms } = await instance.stop();
      if (exit !== 0 || ms > 10_000) throw new Error(`An instance ended with ${String(exit)} after ${String(ms)} ms`);
      await instance.start();
    }
  },
];
const KILLED: Fault = [
  'an instance killed and started again',
  async ({ fleet }) => {
    await fleet.instance(1).stop('SIGKILL');
    await fleet.instance(1).start();
  },
];
/** Faults that the instances survive, in order. */
const LIVED_THROUGH: Fault[] = [
  ['PostgreSQL restarted', ({ postgres }) => postgres.restart()],
  ['Redis restarted', ({ redis }) => redis.restart()],
  ['all connections to PostgreSQL ended', ({ postgres }) => postgres.endConnections()],
  [
    'an instance frozen for 2 s',
    async ({ fleet }) => {
      fleet.instance(2).signal('SIGSTOP');
      await sleep(FREEZE_MS);
      fleet.instance(2).signal('SIGCONT');
    },
  ],
  [
    'Redis frozen for 2 s',
    async ({ redis }) => {
      redis.freeze();
      await sleep(FREEZE_MS);
      redis.thaw();
    },
  ],
];

/** The fault of a minute. Those that end processes come in the first minutes and in the last one, so that memory can be watched in between. */
export function faultOf(minute: number, minutes: number): Fault {
  if (minute === 1) return KILLED;
  const lived = minute > 1 && minute < minutes - 1 && LIVED_THROUGH[(minute - 2) % LIVED_THROUGH.length];
  return lived || ROLLING_RESTART;
}
