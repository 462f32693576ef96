/**
 * For a server under test (`node --import`): its clock is set forwards or back while it runs, as an operator or a time
 * daemon sets the machine's. SIGUSR2 makes it read `CLOCK_STEP_FILE`: by how many milliseconds. The monotonic clock and
 * timers go on as they do on a machine whose clock is set.
 */
import { readFileSync } from 'node:fs';

const RealDate = Date;
let offset = 0;
const now = () => RealDate.now() + offset;

globalThis.Date = new Proxy(RealDate, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget),
  apply: () => new RealDate(now()).toString(),
  get: (target, key) => (key === 'now' ? now : Reflect.get(target, key)),
});

process.on('SIGUSR2', () => {
  offset = Number(readFileSync(process.env.CLOCK_STEP_FILE, 'utf8'));
});
