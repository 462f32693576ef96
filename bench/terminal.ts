const controller = new AbortController();

/** Aborted by Ctrl-C and SIGTERM: what is under way ends, and everything that was started is put away. */
export const interruption: AbortSignal = controller.signal;

/** Tells on standard error what is under way: standard output belongs to results. */
export function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Node shows only the last of several errors, when some happened while things were put away after the first. */
function explain(error: unknown): string {
  if (error instanceof SuppressedError) return `${explain(error.suppressed)}\n\n${explain(error.error)}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** Runs a program to its end, and tells all that went wrong. */
export async function runProgram(main: () => Promise<void>): Promise<void> {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      controller.abort(new Error(`Interrupted by ${signal}`));
    });
  }
  try {
    await main();
  } catch (error) {
    tell(interruption.aborted ? 'Interrupted.' : explain(error));
    process.exitCode = 1;
  }
}
