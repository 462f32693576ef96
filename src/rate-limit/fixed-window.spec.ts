import { FixedWindow } from './fixed-window.ts';

let time = 1_000_000;

it('counts each key in its own window, which starts at the first use', () => {
  const window = new FixedWindow(60_000, Infinity, () => time);
  expect(window.use('a')).toEqual({ consumedPoints: 1, msBeforeNext: 60_000 });
  time += 20_000;
  expect(window.use('a')).toEqual({ consumedPoints: 2, msBeforeNext: 40_000 });
  expect(window.use('b')).toEqual({ consumedPoints: 1, msBeforeNext: 60_000 });
  time += 40_000;
  expect(window.use('a')).toEqual({ consumedPoints: 1, msBeforeNext: 60_000 });
  expect(window.use('b')).toEqual({ consumedPoints: 2, msBeforeNext: 20_000 });
});

it('distinguishes a limited number of keys, counts others together and makes room when windows end', () => {
  const window = new FixedWindow(60_000, 1_000, () => time);
  for (let i = 0; i < 1_000; i++) expect(window.use(`key-${String(i)}`).consumedPoints).toBe(1);
  let most = 0;
  for (let i = 0; i < 50_000; i++) {
    const { consumedPoints } = window.use(`other-${String(i)}`);
    most = Math.max(most, consumedPoints);
    // Keys that came before the limit are still counted separately.
    if (i < 1_000) expect(window.get(`key-${String(i)}`)?.consumedPoints).toBe(1);
  }
  expect(most).toBeGreaterThan(20);
  expect(window.size).toBeLessThanOrEqual(2_024);
  time += 70_000;
  expect(window.use('new').consumedPoints).toBe(1);
  expect(window.size).toBe(1);
});

it('keeps a window for its time and stores nothing when a key is only read', () => {
  const window = new FixedWindow(60_000, 10, () => time);
  expect(window.get('a')).toBeNull();
  expect(window.size).toBe(0);
  window.set('a', 1, 90_000);
  time += 80_000;
  expect(window.get('a')).toEqual({ consumedPoints: 1, msBeforeNext: 10_000 });
  time += 10_000;
  expect(window.get('a')).toBeNull();
});
