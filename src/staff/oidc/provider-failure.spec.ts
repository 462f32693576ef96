import { withoutDetails } from './provider-failure.ts';

it('names the cause of a failure', () => {
  const cause = new Error('connect ECONNREFUSED 192.0.2.1:443');
  expect(withoutDetails(new TypeError('fetch failed', { cause })).message).toBe(`fetch failed: ${cause.message}`);
});

it('quotes no part of an answer that could not be parsed, since it may be a token', async () => {
  const cause: unknown = await new Response('hunter2hunter2').json().catch((error: unknown) => error);
  expect(String(cause)).toContain('hunter2');
  const failure = withoutDetails(new Error('failed to parse "response" body as JSON', { cause }));
  expect(failure.message).toBe('failed to parse "response" body as JSON: not valid JSON');
  expect(withoutDetails(cause).message).not.toContain('hunter2');
});
