import { createServer } from 'node:http';
import type { Scheduler as SchedulerOfServer } from '../../src/platform/common/scheduler.ts';

/**
 * Loaded into a Latchkey server with `--import`: its periodic tasks run on request instead of at their times.
 * `GET /` on JOBS_PORT lists their names, and `POST /<name>` runs one to its end.
 */
const compiled = new URL('../../dist/src/platform/common/scheduler.js', import.meta.url);
const { Scheduler } = (await import(compiled.href)) as { Scheduler: typeof SchedulerOfServer };
const jobs = new Map<string, () => unknown>();
Scheduler.prototype.schedule = ({ name, run }) => void jobs.set(name, run);

const server = createServer((request, response) => {
  const name = decodeURIComponent((request.url ?? '/').slice(1));
  if (name === '') {
    response.end(JSON.stringify([...jobs.keys()]));
    return;
  }
  Promise.resolve()
    .then(() => {
      const run = jobs.get(name);
      if (!run) throw new Error(`There is no job "${name}"`);
      return run();
    })
    .then(
      () => response.end(),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
});
server.listen(Number(process.env['JOBS_PORT']), '127.0.0.1').unref();
