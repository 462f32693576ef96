/**
 * Does something again and again, as long as the process has other reasons to live. What fails is tried the next time.
 *
 * @param failed is told why
 * @returns what `clearInterval()` takes
 */
export const every = (ms: number, work: () => Promise<unknown>, failed: (reason: string) => void): NodeJS.Timeout =>
  setInterval(() => {
    work().catch((error: unknown) => {
      failed((error as Error).message);
    });
  }, ms).unref();
