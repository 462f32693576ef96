import { ignorePostgresVariables } from '../platform/config/postgres-variables.ts';

/** The lowest major version of Node. The tests run on it, and `npm start` uses the one in node_modules. */
const NODE = 24;

// main.ts and cli.ts import this file first, so that an older Node loads nothing else.
const [major = 0] = process.versions.node.split('.').map(Number);
if (major < NODE) {
  process.stderr.write(
    `Latchkey did not start. It needs Node ${String(NODE)} or newer, but this is ${process.version}. Use npm ` +
      'start, which runs the bundled Node (node_modules/.bin/node).\n',
  );
  process.exit(1);
}

ignorePostgresVariables(process.env);
