import { fastify, type FastifyInstance } from 'fastify';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { performance } from 'node:perf_hooks';
import { createLogger, requestLines } from '../common/logging.ts';
import { CallObservers } from './call-observers.ts';
import { RequestLog } from './request-log.ts';
import { HttpStats } from './route-stats.ts';

type Line = Record<string, unknown>;

let server: FastifyInstance;
let stats: HttpStats;
let lines: Line[];
let ended: number;
let logged: PromiseWithResolvers<undefined>;

beforeEach(() => {
  [lines, ended, logged] = [[], 0, Promise.withResolvers()];
  const write = (text: string): void => {
    lines.push(JSON.parse(text) as Line);
    logged.resolve(undefined);
  };
  stats = new HttpStats(() => 0);
  const log = new RequestLog(requestLines(createLogger('info', { write })), new CallObservers(), () => ended++);
  server = fastify();
  server.addHook('onRequest', (request, reply, done) => {
    request.arrivedAt = performance.now();
    request.stats = stats.ofRoute(
      request.url.startsWith('/health') ? 'ops' : 'partner',
      request.routeOptions.url ?? '',
    );
    log.watch(request, reply);
    done();
  });
  server.addHook('onResponse', (request, reply, done) => {
    log.record(request, reply.statusCode, reply.elapsedTime, request.errorCode);
    done();
  });
});
afterEach(() => server.close());

it('writes one line for each request, with the template of its route in place of the URL', async () => {
  server.get('/links/:secret', () => 'shown');
  await server.inject('/links/s3cret?password=s3cret');
  expect(lines).toEqual([
    expect.objectContaining({ msg: 'request', method: 'GET', route: '/links/:secret', status: 200 }),
  ]);
  expect(JSON.stringify(lines)).not.toContain('s3cret');
  expect(stats.ofRoute('partner', '/links/:secret').answers.get('GET')?.get(200)).toBe(1);
  expect(ended).toBe(1);
});

it('names no route for an unknown path', async () => {
  server.addHook('onRequest', (request, _reply, done) => {
    request.unknownRoute = { methods: [], settings: {} };
    done();
  });
  await server.inject('/nothing');
  expect(lines).toEqual([expect.objectContaining({ status: 404 })]);
  expect(lines[0]).not.toHaveProperty('route');
});

it('counts probes without a line at the level info', async () => {
  server.get('/health', () => 'alive');
  await server.inject('/health');
  expect(lines).toEqual([]);
  expect(stats.ofRoute('ops', '/health').answers.get('GET')?.get(200)).toBe(1);
});

it('records 499 once when a client hangs up before the answer', async () => {
  const begun = Promise.withResolvers<undefined>();
  const answer = Promise.withResolvers<string>();
  server.get('/slow', () => {
    begun.resolve(undefined);
    return answer.promise;
  });
  await server.listen({ port: 0, host: '127.0.0.1' });
  const client = net.connect((server.server.address() as AddressInfo).port, '127.0.0.1');
  await once(client, 'connect');
  client.write('GET /slow HTTP/1.1\r\nHost: a\r\n\r\n');
  await begun.promise;
  client.destroy();
  await logged.promise;
  answer.resolve('nobody reads this');
  await server.close();
  expect(lines).toEqual([expect.objectContaining({ status: 499, code: 'client.gone', route: '/slow' })]);
  expect(ended).toBe(1);
});
