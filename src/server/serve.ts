import { performance } from 'node:perf_hooks';
import type { Logger } from 'pino';
import { createApp, type Urls } from './create-app.ts';
import { TallyService } from '../channel-user/tally.service.ts';
import { loadApplication } from '../application.ts';
import { serveReference } from './openapi-document.ts';
import { LINGER_MS } from '../platform/http/graceful-shutdown.ts';
import { createLogger } from '../platform/common/logging.ts';
import { loadConfig } from '../platform/config/config.ts';
import type { DemoCall } from '../quickstart/demo.ts';
import { type DemoCalls, type FirstStart, QuickstartService } from '../quickstart/quickstart.service.ts';
import { checkMemory } from './memory-check.ts';
import { prepare } from './startup.ts';
import { exitWith } from './exit.ts';

/** Milliseconds in which telemetry may send the rest of its data, within the ten seconds of a stop. */
const TELEMETRY_MS = 2_000;
const EXIT_MS = 9_500;
/** Milliseconds after which the process ends even if a database hangs. Unwritten data is then lost. */
const FORCED_EXIT_MS = 9_800;

// A full disk or a closed pipe behind standard output or standard error must not end the process.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

function sayFirstStart({ admin }: FirstStart): void {
  say('');
  say('This is the first start. These secrets are shown only this once:');
  say('');
  say(`Admin e-mail: ${admin.email}`);
  say(`Admin password: ${admin.password}`);
}

/** Quotes a text as one shell argument. */
const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

function sayDemoCalls({ partner, calls }: DemoCalls, url: string): void {
  const token = `curl -s -d 'Username=${partner.username}' -d 'Password=${partner.password}' ${url}/generateToken`;
  const lineOf = ({ method, path, body }: DemoCall): string => {
    const parts = [`curl -s -H "Authorization: Bearer $(${token})"`];
    if (method !== (body ? 'POST' : 'GET')) parts.push(`-X ${method}`);
    if (body) parts.push(`-H 'Content-Type: application/json' -d ${quoted(JSON.stringify(body))}`);
    return [...parts, /[^\w./-]/.test(path) ? quoted(url + path) : url + path].join(' ');
  };
  say('');
  say('Obtain a token as the demo partner, and use it:');
  say('');
  say(token);
  for (const call of calls) say(lineOf(call));
  say('');
}

function sayUrls({ public: url, staff, ops }: Urls): void {
  if (staff !== undefined) say(`Staff API on ${staff}`);
  if (ops !== undefined) say(`Operations on ${ops}`);
  // This line is for people. Programs wait for the lines on standard output.
  process.stderr.write(`The staff console is at ${staff ?? url}/console\n`);
  say(`Listening on ${url}`);
}

/**
 * Ends the process after the first signal. A second signal changes nothing.
 *
 * @param stop takes the milliseconds for which a proxy may still use its idle connections
 */
function stopOnSignals(logger: Logger, stop: (lingerMs: number) => Promise<void>): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      setTimeout(() => {
        logger.error('Shutdown takes too long, exiting now. Records not yet written are lost.');
        process.exit(1);
      }, FORCED_EXIT_MS).unref();
      // Ctrl-C comes from a terminal, where there is no proxy to wait for.
      stop(signal === 'SIGTERM' ? LINGER_MS : 0).then(() => process.exit(0), exitWith);
    });
  }
}

/**
 * Serves until a signal ends the process.
 *
 * @param file the file of an application outside of `src`, see {@link loadApplication}
 * @throws ConfigError, StartError, ListenError, EmbeddedPostgresError, ApplicationError
 */
export async function serve(file?: string): Promise<void> {
  const environment = loadConfig(process.env);
  // Telemetry's packages are loaded only if it is configured.
  const telemetry =
    environment.telemetry && (await import('../platform/telemetry/telemetry.ts')).startTelemetry(environment.telemetry);
  const logger = createLogger(environment.logLevel, undefined, telemetry?.logFields);
  for (const warning of environment.warnings) logger.warn(`${warning}.`);
  // Comes after telemetry, which can watch only modules that are imported later.
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
    stop = () => (stopping ??= shutDown(0));
    const shutDown = async (lingerMs: number): Promise<void> => {
      const begunAt = performance.now();
      try {
        await app.close(lingerMs);
      } finally {
        // Comes after app.close(), which may still use the database and telemetry.
        const leftMs = begunAt + EXIT_MS - performance.now();
        await Promise.all([runtime.stop(), telemetry?.stop(Math.min(TELEMETRY_MS, leftMs))]);
        await app.end();
      }
    };
    stopOnSignals(logger, (lingerMs) => (stopping ??= shutDown(lingerMs)));
    serveReference(app.nest);
    await app.nest.init();
    const { accounts } = await app.nest.get(TallyService).read();
    checkMemory(process.constrainedMemory(), accounts, runtime.config.accountCacheSize);
    const quickstart = app.nest.get(QuickstartService);
    const firstStart = runtime.embedded ? await quickstart.provisionOnce() : undefined;
    const demo =
      runtime.embedded && application.demo
        ? await quickstart.prepareDemo(app.nest.get(application.demo, { strict: false }), firstStart?.demo)
        : firstStart && { partner: firstStart.demo, calls: [{ method: 'GET', path: '/me' } as const] };
    const urls = await app.listen(environment.host, environment.port);
    if (firstStart) sayFirstStart(firstStart);
    if (demo) sayDemoCalls(demo, urls.public);
    if (firstStart) await quickstart.shown();
    sayUrls(urls);
  } catch (error) {
    await stop().catch(() => undefined);
    throw error;
  }
}
