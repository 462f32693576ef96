import { Controller, Get, Module, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import net from 'node:net';
import { Readable } from 'node:stream';
import { Public } from '../../src/platform/api/security.ts';
import { CONNECTION_LIMITS } from '../../src/platform/http/connections.ts';
import { TestApp } from '../support/app.ts';
import { realTime } from '../support/real-time.ts';
import { until } from '../support/sign-ins.ts';

const FILE = 'swagger-ui-bundle.js';
const HOST = 'Host: latchkey.test\r\n';
const FILE_REQUEST = `GET /docs/${FILE} HTTP/1.1\r\n${HOST}\r\n`;
const PAGE_REQUEST = `GET /.well-known/jwks.json HTTP/1.1\r\n${HOST}\r\n`;
/** Long enough for an event loop that the machine holds up. */
const STALL_MS = 3_000;
/** Requests of all connections that may wait for earlier answers. */
const MAX_WAITING = 100;
const CHUNK = Buffer.alloc(16_384, '.');

let openStreams = 0;

/** Sends more than the sockets between have room for. */
async function* chunks(count: number): AsyncGenerator<Buffer> {
  openStreams++;
  try {
    for (let i = 0; i < count; i++) yield await Promise.resolve(CHUNK);
  } finally {
    openStreams--;
  }
}

@Controller('streams')
@Public()
class StreamController {
  @Get('endless')
  endless(@Res() reply: FastifyReply): void {
    void reply.type('application/x-ndjson').send(Readable.from(chunks(Infinity), { objectMode: false }));
  }

  @Get('long')
  long(@Res() reply: FastifyReply): void {
    void reply.type('application/x-ndjson').send(Readable.from(chunks(1_000), { objectMode: false }));
  }
}

@Module({ controllers: [StreamController] })
class StreamModule {}

const open: net.Socket[] = [];

/** A connection that sends a text, and does not end its half when the server does. */
async function connect(url: string, text = '', allowHalfOpen = true): Promise<net.Socket> {
  const socket = net.connect({ port: Number(new URL(url).port), host: '127.0.0.1', allowHalfOpen });
  open.push(socket);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  if (text !== '') socket.write(text);
  return socket;
}

/** Everything that the server says until it ends its half. */
async function answerOf(socket: net.Socket): Promise<string> {
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  await once(socket, 'end');
  return text;
}

const connectionsOf = (app: TestApp): Promise<number> =>
  new Promise((resolve, reject) => {
    app.app.nest.getHttpServer().getConnections((error: Error | null, count: number) => {
      if (error) reject(error);
      else resolve(count);
    });
  });

/** Descriptors of the file that this process, and so the server, has open. */
const openFiles = (): number =>
  readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).endsWith(FILE);
    } catch {
      return false;
    }
  }).length;

afterEach(() => {
  for (const socket of open.splice(0)) socket.destroy();
});

describe('pipelined requests', () => {
  let app: TestApp;

  beforeAll(async () => {
    app = await TestApp.start();
    // Sockets of fetch() would be counted among the connections.
    await until(async () => (await connectionsOf(app)) === 0, 'no connection');
  });
  afterAll(() => app.close());

  it('open few files for a thousand requests on a connection that reads nothing, and close them with it', async () => {
    const sockets: net.Socket[] = [];
    for (let i = 0; i < 4; i++) sockets.push((await connect(app.url, FILE_REQUEST.repeat(1_000))).pause());
    let most = 0;
    // Other answers take their turn meanwhile: the thousand have been read.
    for (let i = 0; i < 20; i++) {
      await answerOf(await connect(app.url, PAGE_REQUEST.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')));
      most = Math.max(most, openFiles());
    }
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(4 * CONNECTION_LIMITS.maxHandled);
    for (const socket of sockets) socket.destroy();
    await until(() => openFiles() === 0, 'the files are closed');
  });

  it('leave no file open when their connection ends first', async () => {
    for (let i = 0; i < 100; i++) {
      const socket = await connect(app.url, FILE_REQUEST.repeat(20));
      await new Promise(setImmediate);
      socket.resetAndDestroy();
    }
    await until(async () => (await connectionsOf(app)) === 0, 'the connections end');
    await until(() => openFiles() === 0, 'the files are closed');
  });

  it('are all answered in order to a client that reads', async () => {
    const socket = await connect(app.url);
    const paths = Array.from({ length: 1_000 }, (_, i) => `/nothing/${String(i)}`);
    socket.write(paths.map((path) => `GET ${path} HTTP/1.1\r\n${HOST}X-Padding: ${'x'.repeat(100)}\r\n\r\n`).join(''));
    socket.write(`POST /nothing HTTP/1.1\r\n${HOST}Content-Length: 4\r\nConnection: close\r\n\r\nbody`);
    const answers = (await answerOf(socket)).split('HTTP/1.1 ').slice(1);
    expect(answers).toHaveLength(1_001);
    for (const answer of answers) expect(answer).toMatch(/^404 /);
    expect(answers.at(-1)).toMatch(/\nconnection: close/i);
  });

  it('are answered before an invalid request that follows them', async () => {
    const socket = await connect(app.url, `${PAGE_REQUEST.repeat(10)}NONSENSE\r\n\r\n`);
    const answers = (await answerOf(socket)).split('HTTP/1.1 ').slice(1);
    expect(answers.map((answer) => answer.slice(0, 3))).toEqual([...Array<string>(10).fill('200'), '400']);
  });
});

describe('with lower limits', () => {
  let app: TestApp;

  beforeAll(async () => {
    app = await TestApp.start(
      {},
      { features: [StreamModule] },
      { ...CONNECTION_LIMITS, maxWaiting: MAX_WAITING, stallMs: STALL_MS },
    );
  });
  afterAll(() => app.close());

  it('a connection with too many pipelined requests is ended, and others are answered', async () => {
    const greedy = await connect(app.url, PAGE_REQUEST.repeat(500), false);
    await once(greedy.resume(), 'close');
    const socket = await connect(app.url, `${PAGE_REQUEST.repeat(50)}NONSENSE\r\n\r\n`);
    expect((await answerOf(socket)).split('HTTP/1.1 200').length - 1).toBe(50);
  });

  it('exactly as many pipelined requests as may wait are answered', async () => {
    const most = CONNECTION_LIMITS.maxHandled + MAX_WAITING;
    const socket = await connect(app.url, `${PAGE_REQUEST.repeat(most)}NONSENSE\r\n\r\n`);
    expect((await answerOf(socket)).split('HTTP/1.1 200').length - 1).toBe(most);
    const greedy = await connect(app.url, `${PAGE_REQUEST.repeat(most + 1)}NONSENSE\r\n\r\n`, false);
    let said = '';
    greedy.on('data', (chunk: Buffer) => (said += chunk.toString('latin1')));
    await once(greedy, 'close');
    expect(said).toBe('');
  });

  it.each(['a file', 'a stream'])('a client that reads nothing of %s is cut off', async (of) => {
    const request = of === 'a file' ? FILE_REQUEST.repeat(50) : `GET /streams/endless HTTP/1.1\r\n${HOST}\r\n`;
    const socket = (await connect(app.url, request, false)).pause();
    const opened = (): number => (of === 'a file' ? openFiles() : openStreams);
    await until(() => opened() > 0, 'the answer begins');
    await until(() => opened() === 0, 'it is given up', 10 * STALL_MS);
    await once(socket.resume(), 'close');
  });

  it('a slow client receives everything, even if it takes longer than a stall may', async () => {
    const socket = (await connect(app.url, `GET /streams/long HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`)).pause();
    const begun = Date.now();
    let bytes = 0;
    while (!socket.readableEnded) {
      await realTime('the client reads slowly', Date.now() - begun < 2 * STALL_MS ? STALL_MS / 10 : 1);
      bytes += (socket.read() as Buffer | null)?.length ?? 0;
    }
    expect(Date.now() - begun).toBeGreaterThan(1.5 * STALL_MS);
    expect(bytes).toBeGreaterThan(1_000 * CHUNK.length);
    expect(openStreams).toBe(0);
  });

  const noneIsOpen = (): Promise<unknown> =>
    until(async () => (await connectionsOf(app)) === 0, 'the server ends the connections');

  it.each([
    ['what is no request', 'NONSENSE\r\n\r\n', 400],
    ['headers that are too large', `GET / HTTP/1.1\r\n${HOST}X: ${'x'.repeat(40_000)}\r\n\r\n`, 431],
    ['a tunnel', `CONNECT latchkey.test:443 HTTP/1.1\r\n${HOST}\r\n`, 400],
    ['a chunk without length', `POST /nothing HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\nxyz\r\n`, 404],
    ['the last request', PAGE_REQUEST.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'), 200],
  ])('a client that keeps its half open after %s is cut off', async (_, text, status) => {
    await noneIsOpen();
    const socket = await connect(app.url, text);
    expect(await answerOf(socket)).toMatch(new RegExp(`^HTTP/1.1 ${String(status)} `));
    await noneIsOpen();
  });

  it('a client that keeps its half open after a late request is cut off', async () => {
    await noneIsOpen();
    const accepted = once(app.app.nest.getHttpServer() as net.Server, 'connection');
    const socket = await connect(app.url, 'GET /');
    const [served] = (await accepted) as [net.Socket];
    // As Node says it after a while; `faults/clients.e2e.ts` waits for that.
    served.emit('error', Object.assign(new Error('late'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }));
    expect(await answerOf(socket)).toMatch(/^HTTP\/1.1 408 /);
    await noneIsOpen();
  });
});

it('a stop ends connections without a request before it cuts any', async () => {
  const app = await TestApp.start({ adminPort: 0 });
  const server = app.app.nest.getHttpServer();
  let cuts = 0;
  const cut = server.closeAllConnections.bind(server);
  server.closeAllConnections = () => {
    cuts++;
    cut();
  };
  const sockets: net.Socket[] = [];
  for (const url of [app.url, app.staffUrl]) {
    for (const text of ['', 'GET /me HTTP/1.1\r\nHost: a', PAGE_REQUEST]) sockets.push(await connect(url, text, false));
  }
  const ended = Promise.all(sockets.map((socket) => once(socket.resume(), 'close')));
  await app.close();
  await ended;
  expect(cuts).toBe(0);
});
