import { prefersJson } from './accept.ts';

it.each([
  [undefined, false],
  ['*/*', false],
  ['application/json', true],
  ['application/json, text/plain, */*', false],
  ['text/plain;q=0, application/json', true],
  ['image/png', false],
  // So long a one is as none.
  [`application/json${','.repeat(3_000)}`, false],
])('JSON for a client that accepts it and no text: %p', (accept, isJson) => {
  expect(prefersJson(accept)).toBe(isJson);
});
