import { fastify, type FastifyInstance } from 'fastify';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { CONNECTION_LIMITS, Connections } from './connections.ts';
import { Deadline } from './deadline.ts';
import { ErrorFilter } from './error.filter.ts';
import { Listeners } from './listeners.ts';
import { answerParserError, answerRouterError } from './parser-errors.ts';
import { HttpStats } from './route-stats.ts';
import { SERVER_OPTIONS } from './server-options.ts';
import { Uploads } from './uploads.ts';

const options = { publicUrl: 'https://latchkey.test' };
let server: FastifyInstance;
let stats: HttpStats;
let deadline: Deadline;

beforeAll(async () => {
  stats = new HttpStats(() => 0);
  deadline = new Deadline(60_000, () => undefined);
  const uploads = new Uploads(deadline);
  const connections = new Connections(CONNECTION_LIMITS);
  const ports = { adminPort: undefined, opsPort: undefined };
  const listeners = new Listeners(ports, SERVER_OPTIONS, connections);
  const context = { options, stats, uploads, connections, apis: listeners.publicApis };
  server = fastify({
    serverFactory: (handle) => listeners.create(handle),
    clientErrorHandler: (error, socket) => {
      answerParserError(error, socket, context);
    },
    frameworkErrors: (error, request, reply) => {
      answerRouterError(error, request, reply, { ...context, filter: new ErrorFilter() });
    },
  });
  listeners.attach(server, (error, socket, apis) => {
    answerParserError(error, socket, { ...context, apis });
  });
  server.get('/', () => 'answered');
  await server.listen({ port: 0, host: '127.0.0.1' });
});
afterAll(async () => {
  deadline.close();
  await server.close();
});

async function exchange(text: string): Promise<string> {
  const client = net.connect((server.server.address() as AddressInfo).port, '127.0.0.1');
  let answer = '';
  client.on('data', (chunk: Buffer) => (answer += chunk.toString()));
  client.write(text);
  await once(client, 'end');
  client.destroy();
  return answer;
}

it.each([
  ['no HTTP', 'this is no HTTP\r\n\r\n', 400, 'request.malformed'],
  [
    'headers that are too large',
    `GET / HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(40_000)}\r\n\r\n`,
    431,
    'request.headers-too-large',
  ],
  ['CONNECT', 'CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n', 400, 'request.malformed'],
])('answers %s with a problem document, and ends the connection', async (_, text, status, code) => {
  const [head = '', body = ''] = (await exchange(text)).split('\r\n\r\n');
  expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${String(status)} `));
  expect(head).toMatch(/^connection: close$/im);
  expect(head).toContain('strict-transport-security: max-age=31536000');
  expect(JSON.parse(body)).toMatchObject({ status, code });
  expect(stats.unmatched('partner').errors.get(code)).toBeGreaterThan(0);
});

it('answers a request that does not arrive in time with 408', async () => {
  server.server.once('connection', (socket) => {
    // Node emits this error after `requestTimeout`.
    server.server.emit('clientError', Object.assign(new Error('late'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }), socket);
  });
  expect(await exchange('GET / HTTP/1.1\r\nHost: a\r\n')).toMatch(/^HTTP\/1\.1 408 .*"code":"request\.timeout"/s);
});

it('answers the request before the one that is malformed', async () => {
  const answers = await exchange('GET / HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n');
  expect(answers.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 400']);
});

it('answers a URL with a broken escape with the security headers', async () => {
  const answer = await server.inject('/%zz');
  expect(answer.statusCode).toBe(400);
  expect(answer.headers['cache-control']).toBe('no-store');
  expect(answer.json()).toMatchObject({ code: 'request.bad-url' });
});
