/** One plain line with the totals at the end of a run, for whoever reads it by machine. */
export default class ClosingLine {
  onRunComplete(_contexts, { numPassedTests, numFailedTests, numPendingTests, numFailedTestSuites }) {
    const failed = Math.max(numFailedTests, numFailedTestSuites);
    process.stdout.write(
      `\n${String(numPassedTests)} passed, ${String(failed)} failed, ${String(numPendingTests)} skipped\n`,
    );
  }
}
