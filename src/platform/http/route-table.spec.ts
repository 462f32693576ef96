import { fastify, type FastifyInstance } from 'fastify';
import { ErrorFilter } from './error.filter.ts';
import type { Apis } from './listeners.ts';
import { HttpStats } from './route-stats.ts';
import { RouteTable } from './route-table.ts';
import { answerUnknownRoute } from './unknown-route.ts';

function serverOf(apis: Apis): FastifyInstance {
  const server = fastify();
  const table = new RouteTable();
  const stats = new HttpStats(() => 0);
  const filter = new ErrorFilter();
  server.addHook('onRoute', (route) => {
    table.register(route, stats);
  });
  server.addHook('onRequest', (request, reply, done) => {
    try {
      table.resolve(request, apis);
      if (request.unknownRoute) answerUnknownRoute(request, reply, request.unknownRoute, apis);
      else done();
    } catch (error) {
      filter.answer(error, request, reply);
    }
  });
  for (const url of ['/things/:id', '/admin/staff', '/health', '/.well-known/jwks.json']) {
    server.route({
      method: 'GET',
      url,
      handler: (request) => ({ api: request.routeOptions.config.api, route: request.routeOptions.config.stats?.route }),
    });
  }
  server.post('/things/:id', () => 'done');
  return server;
}

let server: FastifyInstance;
beforeAll(() => {
  server = serverOf(['partner', 'staff']);
});

it.each([
  ['/things/1', 'partner', '/things/:id'],
  ['/admin/staff', 'staff', '/admin/staff'],
])('gives %s to the %s API and counts it under its template', async (url, api, route) => {
  expect((await server.inject(url)).json()).toEqual({ api, route });
});

it('answers 405 with all methods of the path', async () => {
  const answer = await server.inject({ method: 'DELETE', url: '/things/1?a=b' });
  expect(answer.statusCode).toBe(405);
  expect(answer.headers.allow).toBe('GET, HEAD, POST');
});

it('answers 404 at an unknown path and at a path of another listener', async () => {
  const answers = await Promise.all(['/nothing', '/health'].map((url) => server.inject(url)));
  expect(answers.map(({ statusCode }) => statusCode)).toEqual([404, 404]);
  expect(answers[0]?.headers).not.toHaveProperty('error-code');
});

it.each(['/generatetoken', '/generateToken/', '//GenerateToken'])('names the path of sign-ins at %s', async (url) => {
  const answer = await server.inject({ method: 'POST', url });
  expect(answer.statusCode).toBe(404);
  expect(answer.headers['error-code']).toBe('unknown_path');
  expect(answer.json<{ detail: string }>().detail).toContain('/generateToken');
});

it('answers a preflight for a document that any origin may read', async () => {
  const answer = await server.inject({ method: 'OPTIONS', url: '/.well-known/jwks.json' });
  expect(answer.statusCode).toBe(204);
  expect(answer.headers['access-control-allow-methods']).toBe('GET, HEAD');
});

it('refuses a preflight elsewhere', async () => {
  expect((await server.inject({ method: 'OPTIONS', url: '/things/1' })).statusCode).toBe(405);
});

it.each<[Apis, number, string | undefined]>([
  [['partner', 'staff'], 302, '/console'],
  [['partner'], 302, '/docs'],
  [['ops'], 404, undefined],
])('redirects the front page of a listener with %p', async (apis, status, location) => {
  const answer = await serverOf(apis).inject('/');
  expect([answer.statusCode, answer.headers.location]).toEqual([status, location]);
});
