import { relative } from 'node:path';

/** Prints a line for each file, with how far the run is, the failures, and the totals at the end. */
export default class Reporter {
  #files = 0;
  #done = 0;

  onRunStart({ numTotalTestSuites }) {
    this.#files = numTotalTestSuites;
  }

  onTestResult({ path }, { numPassingTests, numFailingTests, failureMessage, perfStats, skipped }) {
    this.#done++;
    const count = `${String(this.#done).padStart(String(this.#files).length)}/${String(this.#files)}`;
    const file = relative('', path);
    const seconds = ((perfStats.end - perfStats.start) / 1000).toFixed(1);
    if (skipped) print(`${count} skipped ${file}`);
    else if (failureMessage) print(`${count} FAILED ${file}: ${String(numFailingTests)} failed\n${failureMessage}`);
    else print(`${count} ${file}: ${String(numPassingTests)} passed in ${seconds} s`);
  }

  onRunComplete(_contexts, { numPassedTests, numFailedTests, numPendingTests, numFailedTestSuites }) {
    const failed = Math.max(numFailedTests, numFailedTestSuites);
    print(`\n${String(numPassedTests)} passed, ${String(failed)} failed, ${String(numPendingTests)} skipped`);
  }
}

const print = (line) => process.stdout.write(`${line}\n`);
