import { fastify } from 'fastify';
import { securityHeaders } from './security-headers.ts';

async function headersOf(publicUrl: string): Promise<Record<string, unknown>> {
  const server = fastify({ genReqId: () => 'the-id' });
  server.addHook('onRequest', (request, reply, done) => {
    void reply.headers(securityHeaders(request.id, { publicUrl }));
    done();
  });
  const { headers } = await server.inject('/no-route');
  return headers;
}

it('sends the request id and forbids sniffing and storing, even for unknown paths', async () => {
  expect(await headersOf('http://latchkey.test')).toMatchObject({
    'x-request-id': 'the-id',
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
  });
});

it.each([
  ['https://latchkey.test', 'max-age=31536000'],
  ['http://latchkey.test', undefined],
])('demands https of clients of %s: %s', async (publicUrl, expected) => {
  expect((await headersOf(publicUrl))['strict-transport-security']).toBe(expected);
});
