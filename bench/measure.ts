import {
  type Contender,
  type LatchkeyAtSize,
  prepareGuardPeers,
  prepareLatchkey,
  prepareLimit,
  prepareOthers,
  prepareTutorial,
} from './contenders.ts';
import { createDatabase } from './database.ts';
import type { RandomPace } from './load.ts';
import { type Rounds, runRounds } from './rounds.ts';
import { migrate, seedChannelUsers } from './seed.ts';
import { measureStarts, type StartTimes } from './starts.ts';
import { interruption, tell } from './terminal.ts';
import { latchkey } from './variants.ts';

/** The size of the measurement. */
export interface Scale {
  readonly rounds: number;
  readonly pace: RandomPace;
  /** A round before the others that is not counted: V8 compiles what a server runs during its first 100,000 answers. */
  readonly compilation: RandomPace;
  /** Numbers of channel users, ascending. */
  readonly sizes: readonly number[];
  readonly starts: number;
  /** Loads only the servers that the goals compare. */
  readonly isQuick: boolean;
}

export interface Measured {
  readonly scale: Scale;
  readonly floor: Contender;
  readonly oidcProvider: Contender;
  readonly oauth2Server: Contender;
  readonly limit: { readonly generate: Contender; readonly guard: Contender };
  readonly tutorial: { readonly generate: Contender; readonly guard: Contender };
  /** Resource servers that verify Latchkey's tokens. */
  readonly guardPeers: readonly Contender[];
  /** One for each size. */
  readonly latchkey: readonly LatchkeyAtSize[];
  readonly rounds: Rounds;
  readonly starts: StartTimes;
}

const WARM_UP: RandomPace = { kind: 'random', warmUpSeconds: 0, seconds: 2 };
const START_USERS = 1000;

async function measureLatchkeyStarts(times: number, folder: string): Promise<StartTimes> {
  await using database = await createDatabase('starts');
  await migrate(database.url);
  await seedChannelUsers(database.url, START_USERS);
  // The first start creates the signing keys, which later starts find.
  await measureStarts(latchkey('first-start', database.url), 1, folder);
  return await measureStarts(latchkey('start', database.url), times, folder);
}

/**
 * Prepares all servers, then loads them in turn.
 *
 * @param folder for logs and requests
 */
export async function measure(scale: Scale, folder: string): Promise<Measured> {
  tell('starts');
  const starts = await measureLatchkeyStarts(scale.starts, folder);
  await using stack = new AsyncDisposableStack();
  const around = { stack, folder, warmUp: WARM_UP };
  tell('preparing the other servers');
  const { floor, oidcProvider, oauth2Server } = await prepareOthers(around);
  const limit = await prepareLimit(around);
  const tutorial = await prepareTutorial(around);
  const sizes: LatchkeyAtSize[] = [];
  for (const users of scale.sizes) {
    interruption.throwIfAborted();
    tell(`preparing Latchkey with ${String(users)} channel users`);
    sizes.push(await prepareLatchkey(users, around));
  }
  const [smallest] = sizes;
  const guardPeers = smallest ? await prepareGuardPeers(around, smallest) : [];
  const others = [floor, oauth2Server, tutorial.generate, tutorial.guard];
  const contenders = [
    floor,
    limit.generate,
    oidcProvider,
    oauth2Server,
    tutorial.generate,
    ...sizes.map(({ generate }) => generate),
    limit.guard,
    tutorial.guard,
    ...guardPeers,
    ...sizes.map(({ guard }) => guard),
  ].filter((contender) => !scale.isQuick || !others.includes(contender));
  await runRounds(contenders, { rounds: 1, pace: scale.compilation });
  const rounds = await runRounds(contenders, scale);
  return { scale, floor, oidcProvider, oauth2Server, limit, tutorial, guardPeers, latchkey: sizes, rounds, starts };
}
