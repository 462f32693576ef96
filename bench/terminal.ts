const controller = new AbortController();

/** Aborted by Ctrl-C and SIGTERM, so that work in progress ends and everything that was started is cleaned up. */
export const interruption: AbortSignal = controller.signal;

/** Shows progress with the time since the start, on standard error, because standard output is for results. */
export function tell(line: string): void {
  const seconds = Math.floor(performance.now() / 1000);
  const time = [seconds / 60, seconds % 60].map((part) => String(Math.floor(part)).padStart(2, '0')).join(':');
  process.stderr.write(`${time} ${line}\n`);
}

/** Node shows only the last error if others happen during the cleanup after the first. */
function explain(error: unknown): string {
  if (error instanceof SuppressedError) return `${explain(error.suppressed)}\n\n${explain(error.error)}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** Runs a program to its end and reports every error. */
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
