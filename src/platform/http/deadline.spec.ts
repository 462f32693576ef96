import { fastify, type FastifyInstance } from 'fastify';
import { once } from 'node:events';
import net from 'node:net';
import { performance } from 'node:perf_hooks';
import { answerOverdue, Deadline } from './deadline.ts';
import { ErrorFilter } from './error.filter.ts';

let server: FastifyInstance;
let deadline: Deadline;
let url: string;

beforeEach(() => {
  deadline = new Deadline(20, (request, reply) => {
    answerOverdue(request, reply, new ErrorFilter());
  });
  server = fastify();
  server.decorateRequest('arrivedAt', 0);
  server.addHook('onRequest', (request, reply, done) => {
    request.arrivedAt = performance.now();
    deadline.begin(request, reply);
    done();
  });
  server.addHook('onResponse', (request, _reply, done) => {
    deadline.end(request);
    done();
  });
});
afterEach(async () => {
  deadline.close();
  await server.close();
});

it('answers 503 for a handler that is too late and drops its later answer', async () => {
  const { promise, resolve } = Promise.withResolvers<string>();
  server.get('/slow', () => promise);
  url = await server.listen({ port: 0, host: '127.0.0.1' });
  const answer = await fetch(`${url}/slow`);
  resolve('too late');
  expect(answer.status).toBe(503);
  expect(await answer.json()).toMatchObject({ code: 'service.unavailable' });
  expect(deadline.pending).toBe(0);
});

it('answers 408 and ends the connection when the body has not arrived', async () => {
  server.post('/', () => 'unreached');
  url = await server.listen({ port: 0, host: '127.0.0.1' });
  const client = net.connect(Number(new URL(url).port), '127.0.0.1');
  let answer = '';
  client.on('data', (chunk: Buffer) => (answer += chunk.toString()));
  client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{');
  await once(client, 'end');
  client.destroy();
  expect(answer).toMatch(/^HTTP\/1\.1 408 /);
  expect(answer).toMatch(/^connection: close\r$/im);
});

it('ignores a request whose deadline was lifted', async () => {
  const { promise, resolve } = Promise.withResolvers<string>();
  const lifted = Promise.withResolvers<undefined>();
  server.get('/upload', (request) => {
    deadline.lift(request);
    lifted.resolve(undefined);
    return promise;
  });
  server.get('/slow', () => new Promise(() => undefined));
  url = await server.listen({ port: 0, host: '127.0.0.1' });
  const upload = fetch(`${url}/upload`);
  await lifted.promise;
  // This request arrives later than the upload, and its deadline still passes first.
  expect((await fetch(`${url}/slow`)).status).toBe(503);
  expect(deadline.pending).toBe(1);
  resolve('all of it');
  expect(await (await upload).text()).toBe('all of it');
});
