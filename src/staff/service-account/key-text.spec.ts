import { randomUUID } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { generateKey, idOfKey } from './key-text.ts';

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const numberOf = (text: string): number => [...text].reduce((sum, digit) => sum * 62 + DIGITS.indexOf(digit), 0);

it('makes keys of the documented form, with the CRC-32 of what precedes it', () => {
  for (let i = 0; i < 200; i++) {
    const id = randomUUID();
    const key = generateKey(id);
    expect(key).toMatch(/^lk_sa_[0-9a-f]{32}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$/);
    expect(key.slice(6, 38)).toBe(id.replaceAll('-', ''));
    expect(numberOf(key.slice(-6))).toBe(crc32(key.slice(0, -6)));
    expect(idOfKey(key)).toBe(id);
  }
});

it('never makes a secret twice', () => {
  const id = randomUUID();
  expect(new Set(Array.from({ length: 200 }, () => generateKey(id).slice(39, 82))).size).toBe(200);
});

it('notices every single mistyped character, two that are swapped, and a part of a key', () => {
  const key = generateKey(randomUUID());
  for (let i = 0; i < key.length; i++) {
    const other = key[i] === 'a' ? 'b' : 'a';
    expect(idOfKey(key.slice(0, i) + other + key.slice(i + 1))).toBeUndefined();
    const swapped = key.slice(0, i) + (key[i + 1] ?? '') + (key[i] ?? '') + key.slice(i + 2);
    expect([swapped, idOfKey(swapped)]).toEqual([swapped, swapped === key ? idOfKey(key) : undefined]);
    expect(idOfKey(key.slice(0, i))).toBeUndefined();
  }
  for (const more of [`${key}0`, ` ${key}`, `${key}\n`, key.toUpperCase(), '', 'lk_sa_']) {
    expect(idOfKey(more)).toBeUndefined();
  }
});
