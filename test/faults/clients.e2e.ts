import { readdirSync, readFileSync } from 'node:fs';
import { once } from 'node:events';
import net from 'node:net';
import { performance } from 'node:perf_hooks';
import { createDatabase } from '../support/database.ts';
import { FaultLoad, report } from '../support/fault-load.ts';
import { FaultServer } from '../support/fault-server.ts';
import { isLong } from '../support/long.ts';
import { inParallel, until } from '../support/sign-ins.ts';

/** Collects garbage when it is told to. */
const COLLECT = `data:text/javascript,process.on('SIGUSR2', () => gc())`;
const MEGABYTE = 2 ** 20;
/** Of a file of more than a megabyte. */
const PIPELINED = 10;

let database: Awaited<ReturnType<typeof createDatabase>>;
let server: FaultServer;
let admin: string;
let load: FaultLoad;
let begun: number;
let sockets: net.Socket[] = [];

beforeAll(async () => {
  database = await createDatabase();
  server = await FaultServer.start({ DATABASE_URL: database.url }, { runtime: ['--expose-gc', '--import', COLLECT] });
  admin = await server.adminToken();
});
afterAll(async () => {
  await server.remove();
  await database.drop();
});
beforeEach(async () => {
  load = await FaultLoad.prepare(server, admin);
  await load.begin();
  begun = performance.now();
});
afterEach(async () => {
  release();
  await load.end();
});

/** A connection that says a text, and then nothing. */
async function connect(text = '', allowHalfOpen = false): Promise<net.Socket> {
  const socket = net.connect({ port: Number(new URL(server.url).port), host: '127.0.0.1', allowHalfOpen });
  sockets.push(socket);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  if (text !== '') socket.write(text);
  return socket;
}

function release(): void {
  for (const socket of sockets) socket.destroy();
  sockets = [];
}

/** Everything that it says until it ends. */
async function answerOf(socket: net.Socket): Promise<string> {
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await once(socket, 'close');
  return text;
}

const openFiles = (): number => readdirSync(`/proc/${String(server.process.pid)}/fd`).length;

/** What is reachable, in bytes: the server collects its garbage first. */
async function usedHeap(): Promise<number> {
  process.kill(server.process.pid, 'SIGUSR2');
  return server.metric('nodejs_heap_size_used_bytes');
}

async function verify(fault: string): Promise<void> {
  report(fault, load.seen(begun), 0);
  load.unharmed(begun);
  await load.verify();
}

const HEAD = 'HTTP/1.1\r\nHost: latchkey.test\r\n';

it('answers a client that sends half a body, without an alarm', async () => {
  const errors = await server.metric('latchkey_database_errors_total');
  const form = 'Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nUsername=a';
  const json = `Authorization: Bearer ${admin}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"a`;
  const [ofForm, ofJson] = [`POST /generateToken ${HEAD}${form}`, `POST /admin/channel-users ${HEAD}${json}`];
  const answers = await inParallel(100, 100, async (i) => {
    const started = performance.now();
    const answer = await answerOf(await connect(i % 2 === 0 ? ofForm : ofJson));
    expect(performance.now() - started).toBeLessThan(8_000);
    return answer;
  });
  for (const [i, answer] of answers.entries()) {
    expect(answer).toMatch(i % 2 === 0 ? /^HTTP\/1.1 400 [^]*\nerror-code: malformed_request/ : /^HTTP\/1.1 408 /);
    expect(answer.toLowerCase()).toContain('\nconnection: close');
  }
  await verify('100 clients with half a body');
  expect(await server.metric('latchkey_database_errors_total')).toBe(errors);
  await server.shows('latchkey_http_requests_in_flight', (requests) => requests <= 1);
});

// They have 15 s, and the server looks for those every 5 s.
(isLong ? it : it.skip)('ends the connection of a half-open client that sent half the headers or nothing', async () => {
  const before = openFiles();
  const answers = await inParallel(200, 200, async (i) => {
    const socket = await connect(i % 2 === 0 ? `GET /me ${HEAD}X-Half: ` : '', true);
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
    await once(socket, 'end');
    return text;
  });
  await until(() => openFiles() < before + 20, 'the server ends them');
  for (const answer of answers) expect(answer).toMatch(/^HTTP\/1.1 408 /);
  expect(performance.now() - begun).toBeLessThan(60_000);
  await verify('200 clients with half the headers, or nothing');
});

it('serves others despite clients that do not read, and frees what these hold', async () => {
  const before = openFiles();
  // Together more than the sockets between have room for.
  const request = `GET /docs/swagger-ui-bundle.js ${HEAD}\r\n`;
  const readers = await inParallel(50, 50, async () => {
    const socket = await connect(request.repeat(PIPELINED));
    socket.pause();
    return socket;
  });
  await load.recovered(performance.now());
  expect(openFiles()).toBeGreaterThanOrEqual(before + readers.length - 10);
  release();
  await until(() => openFiles() < before + readers.length, 'the files are closed');
  await verify('50 clients that do not read');
});

/** Opens idle connections, 10,000 unless `ulimit -n` allows fewer. @returns how many were answered and are open */
async function openIdle(): Promise<number> {
  // Node raises its own limit to the hard one; the server has the same.
  const most = Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]);
  const count = Math.min(10_000, most - 500);
  if (count < 10_000) process.stdout.write(`clients.e2e.ts: ${String(count)} idle connections, as ulimit -n allows\n`);
  // Used once: those that never say anything are ended before long.
  const open = (): net.Socket[] => sockets.filter(({ closed }) => !closed);
  await until(async () => {
    // On a slow machine, the server ends the first before the last are open.
    await inParallel(count - open().length, 200, async () => (await connect(`GET /health ${HEAD}\r\n`)).resume());
    return open().filter(({ bytesRead }) => bytesRead > 0).length === count && openFiles() > count;
  }, 'all are answered and open at the server');
  return count;
}

it('serves others despite 10,000 idle connections, and frees what these hold', async () => {
  const before = openFiles();
  const heapBefore = await usedHeap();
  const count = await openIdle();
  await load.recovered(performance.now());
  const heapThen = await usedHeap();
  release();
  await until(() => openFiles() < before + count / 20, 'the files are closed');
  await until(async () => (await usedHeap()) < heapBefore + 20 * MEGABYTE, 'the memory is given back');
  const grown = Math.round((heapThen - heapBefore) / MEGABYTE);
  report(`${String(count)} idle connections, ${String(grown)} MB of heap`, load.seen(begun), 0);
  load.unharmed(begun);
  await load.verify();
});

it('stops despite 10,000 idle connections', async () => {
  const count = await openIdle();
  await load.end();
  const asked = performance.now();
  expect(await server.stop()).toBe(0);
  const took = Math.round(performance.now() - asked);
  report(`${String(count)} idle connections during a stop, which took ${String(took)} ms`, load.seen(begun));
});
