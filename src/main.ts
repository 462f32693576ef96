import { createApp } from './app.ts';
import { serveReference } from './openapi.ts';
import { LINGER_MS } from './common/http.ts';
import { createLogger } from './common/logging.ts';
import { loadConfig } from './config/config.ts';
import { type FirstStart, QuickstartService } from './quickstart/quickstart.service.ts';
import { prepare } from './startup.ts';
import { exitWith } from './exit.ts';

/** What is still being answered after a signal may take this long; then the connections are cut. */
const DRAIN_MS = 8_000;

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

async function main(): Promise<void> {
  const environment = loadConfig(process.env);
  const logger = createLogger(environment.logLevel);
  const runtime = await prepare(environment, 'serve');
  for (const warning of runtime.warnings) logger.warn(warning);
  let stop = (): Promise<void> => runtime.stop();
  try {
    const { nest, stopping } = await createApp(runtime.config, logger);
    let stopped: Promise<void> | undefined;
    stop = () => (stopped ??= shutDown());
    const shutDown = async (): Promise<void> => {
      const cut = setTimeout(() => {
        nest.getHttpServer().closeAllConnections();
      }, DRAIN_MS);
      try {
        await nest.close();
      } finally {
        clearTimeout(cut);
        // Last: everything before may still write.
        await runtime.stop();
      }
    };
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        // Ctrl-C is somebody at a terminal, without a proxy.
        if (signal === 'SIGTERM') stopping.lingerMs = LINGER_MS;
        stop().then(() => process.exit(0), exitWith);
      });
    }
    serveReference(nest);
    await nest.init();
    const firstStart = runtime.embedded ? await nest.get(QuickstartService).provisionOnce() : undefined;
    await nest.listen(environment.port, environment.host);
    const url = (await nest.getUrl()).replace('[::1]', '127.0.0.1');
    if (firstStart) sayFirstStart(firstStart, url);
    say(`Listening on ${url}`);
  } catch (error) {
    await stop().catch(() => undefined);
    throw error;
  }
}

main().catch(exitWith);
