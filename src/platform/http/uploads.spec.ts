import { fastify, type FastifyInstance, type LightMyRequestResponse } from 'fastify';
import { Readable } from 'node:stream';
import { addBodyParsers } from './body-types.ts';
import { ErrorFilter } from './error.filter.ts';
import { Upload } from './uploads.ts';

let server: FastifyInstance;

beforeAll(() => {
  const filter = new ErrorFilter();
  server = fastify();
  server.setErrorHandler((error, request, reply) => {
    filter.answer(error, request, reply);
  });
  addBodyParsers(server);
  server.post('/', async (request) => {
    let bytes = 0;
    const upload = new Upload(request.body as AsyncIterable<Uint8Array>, { maxBytes: 10, stallMs: 200 });
    for await (const chunk of upload) bytes += chunk.length;
    return { bytes };
  });
});

const upload = (payload: Readable | string): Promise<LightMyRequestResponse> =>
  server.inject({ method: 'POST', url: '/', headers: { 'content-type': 'text/csv' }, payload });

it('reads a file up to the limit', async () => {
  expect((await upload('0123456789')).json()).toEqual({ bytes: 10 });
});

it('refuses a longer file', async () => {
  expect((await upload('0123456789a')).statusCode).toBe(413);
});

it('gives up on a sender that stalls', async () => {
  const silent = new Readable({ read: () => undefined });
  silent.push('012');
  const answer = await upload(silent);
  silent.destroy();
  expect(answer.statusCode).toBe(408);
});
