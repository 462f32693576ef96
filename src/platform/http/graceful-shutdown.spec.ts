import { fastify, type FastifyInstance } from 'fastify';
import { Agent, get, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { performance } from 'node:perf_hooks';
import { CONNECTION_LIMITS, Connections } from './connections.ts';
import { Deadline } from './deadline.ts';
import { GracefulShutdown } from './graceful-shutdown.ts';
import { Listeners } from './listeners.ts';
import { SERVER_OPTIONS } from './server-options.ts';

const agent = new Agent({ keepAlive: true });
let server: FastifyInstance;
let shutdown: GracefulShutdown;
let answers: PromiseWithResolvers<string>[];
let arrived: PromiseWithResolvers<undefined>;

beforeEach(async () => {
  answers = [];
  arrived = Promise.withResolvers();
  const connections = new Connections(CONNECTION_LIMITS);
  const listeners = new Listeners({ adminPort: undefined, opsPort: undefined }, SERVER_OPTIONS, connections);
  const deadline = new Deadline(60_000, () => undefined);
  shutdown = new GracefulShutdown(listeners, connections, deadline);
  server = fastify({
    serverFactory: (handle) => listeners.create(handle),
    return503OnClosing: false,
    forceCloseConnections: 'idle',
  });
  listeners.attach(server, (_error, socket) => socket.destroy());
  server.addHook('onRequest', (request, reply, done) => {
    request.arrivedAt = performance.now();
    deadline.begin(request, reply);
    shutdown.admit(done);
  });
  server.addHook('onResponse', (request, _reply, done) => {
    deadline.end(request);
    shutdown.requestEnded();
    done();
  });
  server.addHook('preClose', (done) => {
    shutdown.begin(done);
  });
  server.addHook('onClose', () => shutdown.end());
  server.get('/', () => {
    const answer = Promise.withResolvers<string>();
    answers.push(answer);
    arrived.resolve(undefined);
    return answer.promise;
  });
  await server.listen({ port: 0, host: '127.0.0.1' });
});
afterEach(() => {
  agent.destroy();
});

async function request(): Promise<IncomingMessage> {
  const { port } = server.server.address() as AddressInfo;
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  get({ agent, port, host: '127.0.0.1' }, resolve).on('error', reject);
  const response = await promise;
  response.resume();
  return response;
}

it('answers a running request, tells its client to connect elsewhere, and closes', async () => {
  const pending = request();
  await arrived.promise;
  const closed = server.close();
  while (server.server.listening) await new Promise(setImmediate);
  answers[0]?.resolve('finished');
  const { statusCode, headers } = await pending;
  await closed;
  expect([statusCode, headers.connection]).toEqual([200, 'close']);
});

it('delays a request that arrives while the last connections are accepted', async () => {
  const order: string[] = [];
  const admitted = Promise.withResolvers<undefined>();
  shutdown.begin(() => order.push('listener closed'));
  shutdown.admit(() => {
    order.push('request admitted');
    admitted.resolve(undefined);
  });
  await admitted.promise;
  await server.close();
  expect(order).toEqual(['listener closed', 'request admitted']);
});
