import fc from 'fast-check';
import { createHash } from 'node:crypto';
import { fingerprintOf } from './fingerprint.ts';

const expected = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 8);

it('is that of the server for passwords of any length, at the borders of a block too', () => {
  for (let length = 0; length <= 200; length++) {
    const password = 'p'.repeat(length);
    expect([length, fingerprintOf(password)]).toEqual([length, expected(password)]);
  }
});

it('is that of the server for passwords of any characters', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (password) => {
      expect(fingerprintOf(password)).toBe(expected(password));
    }),
  );
});

it('keeps leading zeros', () => {
  const zero = Array.from({ length: 1_000 }, (_, i) => String(i)).find((text) => expected(text).startsWith('0')) ?? '';
  expect(fingerprintOf(zero)).toBe(expected(zero));
});
