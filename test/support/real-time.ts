/**
 * Every wait for real time in a test file, and why no clock of the test can take its place. ESLint allows no other.
 * Besides these, `eventually` in `sign-ins.ts` looks again every 20 ms until something is so, and the tests of the
 * response delay, of timeouts and of other software's clocks last as long as what they test.
 */
const WAITS = {
  'a connection waits longer than requests do': { ms: 2_500, because: 'the limit is that of a real socket' },
  'a rejection is reported': { ms: 200, because: 'Node reports a rejection that nobody handles after a turn or more' },
  'a job is slow': { ms: 300, because: 'the queue measures how long a job takes' },
  'a token is nearly over': { ms: 1_100, because: 'the client counts by a clock that no test can move' },
  'an attempt finds the rows locked': { ms: 400, because: 'only time shows that the instance did not give up' },
  'a read is held': { ms: 300, because: 'only time shows that the read outlasts the withdrawal' },
  'connections are killed again': { ms: 200, because: 'the pool connects again meanwhile' },
  'every instance looks at the schedule': { ms: 70_000, because: 'the instances are processes with real clocks' },
  'Latchkey is stopping': { ms: 500, because: 'only time shows that the process waits for the import' },
  'nginx is busy with an upload': { ms: 16_000, because: 'its timeouts are longer than its shortest' },
  'Node checks its connections': { ms: 500, because: 'Node does so every 30 seconds' },
  'Redis is checked again': { ms: 1_200, because: 'only time shows that nothing more is logged' },
  'requests are under way': { ms: 500, because: 'a fault must meet a load' },
  'Retry-After is over': { ms: 1_000, because: 'the partners wait as they are told to' },
  'sign-ins arrive one after another': { ms: 50, because: 'a load spreads over the attempts to write' },
  'the client reads slowly': { ms: 10, because: 'sockets fill as fast as the system fills them' },
  'the flood has begun': { ms: 40, because: 'the sign-in must arrive behind the flood' },
} as const;

/** Waits for real time. @param name what happens meanwhile @param ms other milliseconds than the table has */
export async function realTime(name: keyof typeof WAITS, ms: number = WAITS[name].ms): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}
