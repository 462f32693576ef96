import { performance } from 'node:perf_hooks';
import { createApp } from './app.ts';
import { loadApplication } from './application.ts';
import { serveReference } from './openapi.ts';
import { LINGER_MS } from './common/closing.ts';
import { createLogger } from './common/logging.ts';
import { loadConfig } from './config/config.ts';
import { type FirstStart, QuickstartService } from './quickstart/quickstart.service.ts';
import { prepare } from './startup.ts';
import { exitWith } from './exit.ts';

/** What telemetry has not sent yet may take this long, and must not keep the process beyond its ten seconds. */
const TELEMETRY_MS = 2_000;
const EXIT_MS = 9_500;
/** A database that hangs must not keep the process from ending in time, whatever is lost with it. */
const FORCED_EXIT_MS = 9_800;

// What a person is told may have no room to go to, or nobody to read it: no reason to end.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

function sayFirstStart({ admin, demo }: FirstStart, url: string): void {
  const token = `curl -s -d 'Username=${demo.username}' -d 'Password=${demo.password}' ${url}/generateToken`;
  say('');
  say('This is the first start. These secrets are shown this once:');
  say('');
  say(`Admin e-mail: ${admin.email}`);
  say(`Admin password: ${admin.password}`);
  say('');
  say('Obtain a token as the demo partner, and use one:');
  say('');
  say(token);
  say(`curl -s -H "Authorization: Bearer $(${token})" ${url}/me`);
  say('');
}

/**
 * Serves until a signal.
 *
 * @param file of an application that stands outside of `src`, see {@link loadApplication}
 * @throws ConfigError, StartError, ListenError, EmbeddedPostgresError, ApplicationError
 */
export async function serve(file?: string): Promise<void> {
  const environment = loadConfig(process.env);
  // Loaded only where it is asked for.
  const telemetry =
    environment.telemetry && (await import('./telemetry/telemetry.ts')).startTelemetry(environment.telemetry);
  const logger = createLogger(environment.logLevel, undefined, telemetry?.logFields);
  // After telemetry: what it watches is imported here.
  const application = await loadApplication(file);
  const runtime = await prepare(environment, 'serve', {
    migrations: application.migrations,
    tell: (line) => {
      logger.warn(line);
    },
  });
  let stop = (): Promise<void> => runtime.stop();
  try {
    const app = await createApp(runtime.config, logger, { application });
    let stopping: Promise<void> | undefined;
    let lingerMs = 0;
    stop = () => (stopping ??= shutDown());
    const shutDown = async (): Promise<void> => {
      const begunAt = performance.now();
      try {
        await app.close(lingerMs);
      } finally {
        // Last: everything before may still write.
        const leftMs = begunAt + EXIT_MS - performance.now();
        await Promise.all([runtime.stop(), telemetry?.stop(Math.min(TELEMETRY_MS, leftMs))]);
        await app.end();
      }
    };
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        // Ctrl-C is somebody at a terminal, without a proxy.
        if (signal === 'SIGTERM') lingerMs = LINGER_MS;
        setTimeout(() => {
          logger.error('The stop takes too long. What was not written is lost.');
          process.exit(1);
        }, FORCED_EXIT_MS).unref();
        stop().then(() => process.exit(0), exitWith);
      });
    }
    serveReference(app.nest);
    await app.nest.init();
    const quickstart = app.nest.get(QuickstartService);
    const firstStart = runtime.embedded ? await quickstart.provisionOnce() : undefined;
    const urls = await app.listen(environment.host, environment.port);
    if (firstStart) {
      sayFirstStart(firstStart, urls.public);
      await quickstart.shown();
    }
    if (urls.staff !== undefined) say(`Staff plane on ${urls.staff}`);
    if (urls.ops !== undefined) say(`Operations on ${urls.ops}`);
    say(`Listening on ${urls.public}`);
  } catch (error) {
    await stop().catch(() => undefined);
    throw error;
  }
}
