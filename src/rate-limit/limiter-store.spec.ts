import type { Config } from '../config/config.ts';
import { LimiterStore } from './limiter-store.service.ts';

const OPTIONS = { name: 'test', points: 1_000, durationSeconds: 900 };

it('keys that are only asked for take no room from those that are counted', async () => {
  const limiter = new LimiterStore({ publicUrl: 'http://latchkey.test' } as Config).create(OPTIONS);
  for (let i = 0; i < 100_001; i++) expect(await limiter.get(`asked-${String(i)}`)).toBeNull();
  // Where keys share what they are counted under, some of so many come second.
  for (let i = 0; i < 10_000; i++) {
    const { consumedPoints } = await limiter.consume(`counted-${String(i)}`);
    expect(consumedPoints).toBe(1);
  }
  expect((await limiter.get('counted-7'))?.consumedPoints).toBe(1);
});
