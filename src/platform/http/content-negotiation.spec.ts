import { prefersJson } from './content-negotiation.ts';

it.each([
  [undefined, false],
  ['*/*', false],
  ['application/json', true],
  ['application/json; charset=utf-8', true],
  ['application/json;odata=verbose;q=0.5', true],
  ['application/json, text/plain, */*', false],
  ['text/plain;q=0, application/json', true],
  ['image/png', false],
  // A header this long is ignored.
  [`application/json${','.repeat(3_000)}`, false],
])('answers JSON to a client that accepts it and no text: %p', (accept, isJson) => {
  expect(prefersJson(accept)).toBe(isJson);
});
