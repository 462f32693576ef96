import { hash } from '@node-rs/bcrypt';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { accountNumbers, clientCredentialsForm, passwordOf, signInForm, usernameOf } from './accounts.ts';
import { createDatabase, withClient } from './database.ts';
import { type LoadResult, type OncePace, type RandomPace, type RequestSet, runLoad } from './load.ts';
import { limitMemory, type MemoryLimits } from './memory-group.ts';
import { residentMiB } from './proc.ts';
import { migrate, seedChannelUsers } from './seed.ts';
import { type ServerDefinition, ServerProcess } from './server-process.ts';
import { floor, guardPeers, latchkey, limit, oauth2Server, oidcProvider, tutorial } from './variants.ts';

/** Accounts of the other servers. */
const ACCOUNTS = 1000;
/** Fewer, because bcrypt makes each password and each token slow. */
const TUTORIAL_ACCOUNTS = 50;
const BCRYPT_COST = 10;
/** Accounts for warming up the engine before the measurement. */
const WARM_UP_ACCOUNTS = 200;
/** If there are more channel users than this, this many are chosen at random and used. */
const MAX_WORKING_SET = 20_000;
/** Latchkey's default CACHE_SIZE. Up to this number, all users are in use. */
const CACHE_SIZE = 100_000;
/** The number of users whose memory has a goal, in a container with this limit. */
const LIMITED_USERS = 100_000;
const LIMIT_MIB = 512;
/** Milliseconds between a load and reading memory. */
const SETTLE_MS = 3_000;

/** A server under one kind of load. */
export interface Contender {
  readonly name: string;
  readonly server: ServerProcess;
  readonly requests: RequestSet;
}

/** Latchkey with a number of channel users, and the measurements from its preparation. */
export interface LatchkeyAtSize {
  readonly users: number;
  /** The number of users in use, drawn uniformly. */
  readonly workingSet: number;
  readonly generate: Contender;
  readonly guard: Contender;
  /** The first sign-in of each user in use, which this process has not cached yet. */
  readonly coldGenerate: LoadResult;
  /** The first use of each token, in a process that has cached neither the token nor its user. */
  readonly coldGuard: LoadResult;
  /** The limits of its memory, in words. */
  readonly limits: string | undefined;
  /** Of the process that is loaded, in this order. */
  readonly residentMiB: {
    readonly atRest: number;
    readonly allTokensUsed: number;
    readonly allSignedIn: number;
  };
}

/** Resources that live as long as the run: servers, databases, and a folder for logs and requests. */
export interface Surroundings {
  readonly stack: AsyncDisposableStack;
  readonly folder: string;
  readonly warmUp: RandomPace;
}

const post = (requestPath: string, file: string): RequestSet => ({
  method: 'POST',
  path: requestPath,
  part: 'form',
  file,
});
const me = (file: string): RequestSet => ({ method: 'GET', path: '/me', part: 'bearer', file });

async function writeLines(folder: string, name: string, lines: string[]): Promise<string> {
  const file = path.join(folder, name);
  await writeFile(file, `${lines.join('\n')}\n`);
  return file;
}

/** @returns count numbers between 1 and highest, each once, in random order */
function draw(highest: number, count: number): number[] {
  const numbers = accountNumbers(highest);
  for (let index = 0; index < count; index += 1) {
    const other = index + Math.floor(Math.random() * (highest - index));
    [numbers[index], numbers[other]] = [numbers[other] ?? NaN, numbers[index] ?? NaN];
  }
  return numbers.slice(0, count);
}

async function start(definition: ServerDefinition, { stack, folder }: Surroundings): Promise<ServerProcess> {
  return stack.use(await ServerProcess.start(definition, folder));
}

/** Sends each request once. @returns the file with the tokens from the responses, one a line */
async function obtainTokens(
  server: ServerProcess,
  requests: RequestSet,
): Promise<{ tokens: string; result: LoadResult }> {
  const answersFile = `${requests.file}.tokens`;
  const { origin, pid: serverPid } = server;
  const result = await runLoad({ origin, serverPid, requests, pace: { kind: 'once', answersFile } });
  const answers = (await readFile(answersFile, 'utf8')).trimEnd().split('\n');
  const tokens = answers.map((answer) =>
    answer.startsWith('{') ? (JSON.parse(answer) as { access_token: string }).access_token : answer,
  );
  await writeFile(answersFile, `${tokens.join('\n')}\n`);
  return { tokens: answersFile, result };
}

/** The servers that only generate tokens: the floor and two libraries. */
export async function prepareOthers(
  around: Surroundings,
): Promise<{ floor: Contender; oidcProvider: Contender; oauth2Server: Contender }> {
  const forms = await writeLines(around.folder, 'floor-forms', accountNumbers(ACCOUNTS).map(signInForm));
  const clients = await writeLines(around.folder, 'oidc-forms', accountNumbers(ACCOUNTS).map(clientCredentialsForm));
  const library = async (definition: ServerDefinition): Promise<Contender> => ({
    name: definition.name,
    server: await start(definition, around),
    requests: post('/token', clients),
  });
  return {
    floor: { name: 'floor', server: await start(floor(), around), requests: post('/generateToken', forms) },
    oidcProvider: await library(oidcProvider(ACCOUNTS)),
    oauth2Server: await library(oauth2Server(ACCOUNTS)),
  };
}

/** The bare server that does the minimum, for both loads. */
export async function prepareLimit(around: Surroundings): Promise<{ generate: Contender; guard: Contender }> {
  const server = await start(limit(ACCOUNTS), around);
  const forms = await writeLines(around.folder, 'limit-forms', accountNumbers(ACCOUNTS).map(signInForm));
  const generate = { name: 'limit', server, requests: post('/generateToken', forms) };
  const { tokens } = await obtainTokens(server, generate.requests);
  return { generate, guard: { name: 'limit', server, requests: me(tokens) } };
}

/** Resource servers that verify the tokens of a Latchkey, with nothing of it but its keys. */
export async function prepareGuardPeers(around: Surroundings, { guard }: LatchkeyAtSize): Promise<Contender[]> {
  const peers: Contender[] = [];
  for (const definition of await guardPeers(`${guard.server.origin}/.well-known/jwks.json`)) {
    peers.push({ name: definition.name, server: await start(definition, around), requests: guard.requests });
  }
  return peers;
}

/** The server of a common tutorial, for both loads. */
export async function prepareTutorial(around: Surroundings): Promise<{ generate: Contender; guard: Contender }> {
  const numbers = accountNumbers(TUTORIAL_ACCOUNTS);
  const database = around.stack.use(await createDatabase('tutorial'));
  const hashes = await Promise.all(numbers.map((n) => hash(passwordOf(n), BCRYPT_COST)));
  await withClient(database.url, async (client) => {
    await client.query(
      'CREATE TABLE "user" (id serial PRIMARY KEY, username varchar NOT NULL UNIQUE, password varchar NOT NULL)',
    );
    await client.query('INSERT INTO "user" (username, password) SELECT * FROM unnest($1::text[], $2::text[])', [
      numbers.map(usernameOf),
      hashes,
    ]);
  });
  const server = await start(await tutorial(database.url), around);
  const forms = await writeLines(around.folder, 'tutorial-forms', numbers.map(signInForm));
  const generate = { name: 'tutorial', server, requests: post('/generateToken', forms) };
  const { tokens } = await obtainTokens(server, generate.requests);
  return { generate, guard: { name: 'tutorial', server, requests: me(tokens) } };
}

/** The limits of the server whose memory is measured; nothing if this number of users is not that of the goal. */
function limitsFor(users: number, { stack }: Surroundings): MemoryLimits | undefined {
  return users === LIMITED_USERS ? stack.use(limitMemory('latchkey-bench', LIMIT_MIB)) : undefined;
}

/**
 * Latchkey with a number of channel users. Its process starts twice, so that both the first sign-ins and the first
 * uses of tokens meet empty caches. The second one stays: its memory is measured, and it is the one that is loaded.
 */
export async function prepareLatchkey(users: number, around: Surroundings): Promise<LatchkeyAtSize> {
  const { stack, folder } = around;
  const name = `latchkey-${String(users)}`;
  const database = stack.use(await createDatabase(`users${String(users)}`));
  await migrate(database.url);
  await seedChannelUsers(database.url, users + WARM_UP_ACCOUNTS);
  const limits = limitsFor(users, around);
  const unlimited = latchkey(name, database.url);
  const definition = limits
    ? { ...unlimited, env: { ...unlimited.env, NODE_OPTIONS: limits.nodeOptions }, controlGroup: limits.group }
    : unlimited;

  const workingSet = users <= CACHE_SIZE ? users : MAX_WORKING_SET;
  const drawn = draw(users, workingSet).map((n) => signInForm(n + WARM_UP_ACCOUNTS));
  const signIns = post('/generateToken', await writeLines(folder, `${name}-forms`, drawn));
  const warmUpForms = accountNumbers(WARM_UP_ACCOUNTS).map(signInForm);
  const warmUpSignIns = post('/generateToken', await writeLines(folder, `${name}-warm-up-forms`, warmUpForms));

  const run = (server: ServerProcess, requests: RequestSet, pace: RandomPace | OncePace): Promise<LoadResult> =>
    runLoad({ origin: server.origin, serverPid: server.pid, requests, pace });
  const settledMiB = async ({ pid }: ServerProcess): Promise<number> => {
    await sleep(SETTLE_MS);
    return residentMiB(pid);
  };

  let warmUpTokens: RequestSet;
  let tokens: RequestSet;
  let coldGenerate: LoadResult;
  {
    await using first = await ServerProcess.start(definition, folder);
    await run(first, warmUpSignIns, around.warmUp);
    warmUpTokens = me((await obtainTokens(first, warmUpSignIns)).tokens);
    const obtained = await obtainTokens(first, signIns);
    tokens = me(obtained.tokens);
    coldGenerate = obtained.result;
  }
  const server = await start(definition, around);
  const atRest = await settledMiB(server);
  await run(server, warmUpTokens, around.warmUp);
  const coldGuard = await run(server, tokens, { kind: 'once' });
  const allTokensUsed = await settledMiB(server);
  await run(server, signIns, { kind: 'once' });
  return {
    users,
    workingSet,
    generate: { name, server, requests: signIns },
    guard: { name, server, requests: tokens },
    coldGenerate,
    coldGuard,
    limits: limits?.description,
    residentMiB: { atRest, allTokensUsed, allSignedIn: await settledMiB(server) },
  };
}
