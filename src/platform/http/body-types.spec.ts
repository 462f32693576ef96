import { fastify, type FastifyInstance } from 'fastify';
import { Readable } from 'node:stream';
import { addBodyParsers, checkBody, requireForm } from './body-types.ts';
import { ErrorFilter } from './error.filter.ts';

let server: FastifyInstance;
const FORM = 'application/x-www-form-urlencoded';

beforeAll(() => {
  const filter = new ErrorFilter();
  server = fastify();
  server.setErrorHandler((error, request, reply) => {
    filter.answer(error, request, reply);
  });
  server.addHook('onRequest', (request, reply, done) => {
    try {
      const { config } = request.routeOptions;
      config.beforeBody?.(request, {} as never);
      checkBody(request, config);
      done();
    } catch (error) {
      filter.answer(error, request, reply);
    }
  });
  addBodyParsers(server);
  server.post('/json', (request) => ({ body: request.body ?? null }));
  server.post('/form', { config: { body: 'form', beforeBody: requireForm } }, (request) => String(request.body));
  server.post('/file', { config: { body: ['text/csv'] } }, async (request) => {
    let text = '';
    for await (const chunk of request.body as AsyncIterable<Buffer>) text += chunk.toString();
    return text;
  });
});

const post = async (
  url: string,
  type: string | undefined,
  payload: string | Readable,
  more = {},
): Promise<[number, string]> => {
  const headers = { ...(type !== undefined && { 'content-type': type }), ...more };
  const { statusCode, body } = await server.inject({ method: 'POST', url, headers, payload });
  return [statusCode, body];
};

it.each([
  ['/json', 'application/json; charset=utf-8', '{"a":1}', '{"body":{"a":1}}'],
  ['/form', FORM, 'a=1', 'a=1'],
  ['/file', 'text/csv', 'a,b\n', 'a,b\n'],
])('passes on a body of %s', async (url, type, payload, expected) => {
  expect(await post(url, type, payload)).toEqual([200, expected]);
});

it.each([undefined, 'application/json', 'text/plain', FORM, ';'])(
  'treats an empty body of type %p as no body',
  async (type) => {
    expect(await post('/json', type, '')).toEqual([200, '{"body":null}']);
  },
);

it.each([
  ['/json', 'text/plain', 'application/json'],
  ['/json', FORM, 'application/json'],
  ['/form', 'application/json', FORM],
  ['/file', 'application/json', 'text/csv'],
])('refuses at %s a body of type %s and names %s', async (url, type, expected) => {
  const [status, body] = await post(url, type, '{}');
  expect(status).toBe(415);
  expect(JSON.parse(body)).toMatchObject({ detail: `The body must be ${expected}.` });
});

it('refuses a chunked body of another type unless it is empty', async () => {
  const [status] = await post('/json', 'text/plain', Readable.from(['abc']), { 'transfer-encoding': 'chunked' });
  expect(status).toBe(415);
});

it('refuses a compressed body', async () => {
  const [status, body] = await post('/json', 'application/json', '{}', { 'content-encoding': 'gzip' });
  expect(status).toBe(415);
  expect(JSON.parse(body)).toMatchObject({ code: 'request.unsupported-content-encoding' });
});

it.each([
  ['/json', 'application/json', 256 * 1024, '""'],
  ['/form', FORM, 8 * 1024, ''],
])('accepts at %s a body of %s up to %d bytes', async (url, type, bytes, around) => {
  const text = (length: number): string => {
    const [open = '', close = ''] = around;
    return open + 'a'.repeat(length - around.length) + close;
  };
  const longest = await post(url, type, text(bytes));
  const longer = await post(url, type, text(bytes + 1));
  expect([longest[0], longer[0]]).toEqual([200, 413]);
});
