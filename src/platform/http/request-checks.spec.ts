import { fastify, type FastifyInstance } from 'fastify';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { ErrorFilter } from './error.filter.ts';
import { checkHost, checkTransferEncoding } from './request-checks.ts';

let server: FastifyInstance;

beforeAll(async () => {
  const filter = new ErrorFilter();
  server = fastify({ http: { requireHostHeader: false } });
  server.addHook('onRequest', (request, reply, done) => {
    try {
      checkHost(request);
      checkTransferEncoding(request);
      done();
    } catch (error) {
      filter.answer(error, request, reply);
    }
  });
  server.all('/', () => 'let in');
  await server.listen({ port: 0, host: '127.0.0.1' });
});
afterAll(() => server.close());

/** Sends lines as they are, since Node's clients would correct the faults that these tests send. */
async function statusOf(...lines: string[]): Promise<number> {
  const client = net.connect((server.server.address() as AddressInfo).port, '127.0.0.1');
  let answer = '';
  client.on('data', (chunk: Buffer) => (answer += chunk.toString()));
  client.write(`${lines.join('\r\n')}\r\nConnection: close\r\n\r\n`);
  await once(client, 'end');
  client.destroy();
  return Number(answer.split(' ')[1]);
}

it.each(['a', 'a.example:443', '[::1]:3000', 'a:'])('accepts a request for the host %s', async (host) => {
  expect(await statusOf('GET / HTTP/1.1', `Host: ${host}`)).toBe(200);
});

it.each(['a b', 'a/b', 'user@a', 'a:65536', '[::1', '[1.2.3.4]', 'a'.repeat(300), ''])(
  'refuses the host "%s"',
  async (host) => {
    expect(await statusOf('GET / HTTP/1.1', `Host: ${host}`)).toBe(400);
  },
);

it('refuses two hosts, even equal ones', async () => {
  expect(await statusOf('GET / HTTP/1.1', 'Host: a', 'Host: a')).toBe(400);
});

it('requires a host since HTTP/1.1', async () => {
  expect(await statusOf('GET / HTTP/1.1', 'Accept: */*')).toBe(400);
  expect(await statusOf('GET / HTTP/1.0', 'Accept: */*')).toBe(200);
});

it('answers 501 to a transfer coding before chunked', async () => {
  expect(await statusOf('POST / HTTP/1.1', 'Host: a', 'Transfer-Encoding: gzip, chunked')).toBe(501);
});
