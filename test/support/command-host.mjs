/**
 * Runs commands one after the other in this process, where `cli.js` would take a process for each. Loading Latchkey takes
 * much longer than most commands do.
 */

/** A module of the build, which does not exist before `npm run build`. */
const built = (file) => import(`../../dist/src/${file}`);

const { ignorePostgresVariables } = await built('platform/config/postgres-variables.js');
const { exitWith } = await built('server/exit.js');
const { runCommand } = await built('cli/cli.js');

class Exit extends Error {
  constructor(code) {
    super(`exit ${String(code)}`);
    this.code = code;
  }
}

/** @returns the exit code of a command */
async function run(args, env) {
  process.argv.splice(2, Infinity, ...args);
  process.env = env;
  ignorePostgresVariables(process.env);
  process.exitCode = undefined;
  try {
    await runCommand().catch(exitWith);
  } catch (error) {
    if (!(error instanceof Exit)) throw error;
    return error.code;
  }
  return process.exitCode ?? 0;
}

process.exit = (code) => {
  throw new Exit(Number(code ?? process.exitCode ?? 0));
};
process.on('message', ({ args, env, end }) => {
  void run(args, env).then((code) => {
    process.exitCode = 0;
    process.stdout.write(end, () => process.stderr.write(end, () => process.send({ code })));
  });
});
