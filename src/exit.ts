/**
 * Ends the process for a reason: one that a person can mend is told in a sentence, anything else with its stack.
 * Standard error, so that it can be told from output.
 */
export function exitWith(error: unknown): never {
  const told = error instanceof Error && TOLD.has(error.constructor.name);
  const { message, stack = message } = error instanceof Error ? error : new Error(String(error));
  const text = told ? message : stack;
  process.stderr.write(`Latchkey did not start. ${text}\n`);
  process.exit(1);
}

const TOLD = new Set([
  'ConfigError',
  'StartError',
  'ListenError',
  'ApplicationError',
  'EmbeddedPostgresError',
  'UnreadableKeyError',
]);
