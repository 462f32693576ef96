import { FixedWindow } from './fixed-window.ts';

let time = 1_000_000;

it('counts each key in a window of its own, which begins with its first use', () => {
  const window = new FixedWindow(60_000, () => time);
  expect(window.use('a')).toEqual({ consumedPoints: 1, msBeforeNext: 60_000 });
  time += 20_000;
  expect(window.use('a')).toEqual({ consumedPoints: 2, msBeforeNext: 40_000 });
  expect(window.use('b')).toEqual({ consumedPoints: 1, msBeforeNext: 60_000 });
  time += 40_000;
  expect(window.use('a')).toEqual({ consumedPoints: 1, msBeforeNext: 60_000 });
  expect(window.use('b')).toEqual({ consumedPoints: 2, msBeforeNext: 20_000 });
});
