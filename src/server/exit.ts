import { OperatorError } from '../platform/common/operator-error.ts';

/**
 * Ends the process with an error. Prints an error that a person can fix as a sentence, and any other with its stack.
 * Writes to standard error, to keep it apart from output.
 */
export function exitWith(error: unknown): never {
  const isOfArguments = String((error as { code?: unknown } | undefined)?.code).startsWith('ERR_PARSE_ARGS');
  const { message, stack = message } = error instanceof Error ? error : new Error(String(error));
  const text = isOfArguments || error instanceof OperatorError ? message : stack;
  process.stderr.write(`Latchkey did not start. ${text}\n`);
  process.exit(1);
}
