import { createApp } from './app.ts';
import { loadApplication } from './application.ts';
import { serveReference } from './openapi.ts';
import { createLogger } from './common/logging.ts';
import { loadConfig } from './config/config.ts';
import { type FirstStart, QuickstartService } from './quickstart/quickstart.service.ts';
import { prepare } from './startup.ts';
import { exitWith } from './exit.ts';

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
  const logger = createLogger(environment.logLevel);
  const application = await loadApplication(file);
  const runtime = await prepare(environment, 'serve', application.migrations);
  let stop = (): Promise<void> => runtime.stop();
  try {
    const app = await createApp(runtime.config, logger, { application });
    let stopping: Promise<void> | undefined;
    stop = () => (stopping ??= shutDown());
    const shutDown = async (): Promise<void> => {
      try {
        await app.close();
      } finally {
        // Last: everything before may still write.
        await runtime.stop();
        await app.end();
      }
    };
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        stop().then(() => process.exit(0), exitWith);
      });
    }
    serveReference(app.nest);
    await app.nest.init();
    const firstStart = runtime.embedded ? await app.nest.get(QuickstartService).provisionOnce() : undefined;
    const urls = await app.listen(environment.host, environment.port);
    if (firstStart) sayFirstStart(firstStart, urls.public);
    if (urls.staff !== undefined) say(`Staff plane on ${urls.staff}`);
    if (urls.ops !== undefined) say(`Operations on ${urls.ops}`);
    say(`Listening on ${urls.public}`);
  } catch (error) {
    await stop().catch(() => undefined);
    throw error;
  }
}
