import { TestEnvironment } from 'jest-environment-node';

/** Applications that tests have started and not stopped, see `test/support/app.ts`. */
const running = (globalThis[Symbol.for('latchkey.test.running')] ??= new Set());

/** The globals of the process itself, see `native-runtime.mjs`. */
export default class NativeEnvironment extends TestEnvironment {
  #hasFailed = false;

  constructor(config, context) {
    super(config, context);
    this.global = globalThis;
    this.context = null;
  }

  handleTestEvent({ name, test }) {
    if (name === 'test_done' && test.errors.length > 0) this.#hasFailed = true;
  }

  setup() {
    return Promise.resolve();
  }

  /** Stops what a failed test has left running, so that it does not disturb the next file of this process. */
  async teardown() {
    const left = running.size;
    for (const app of running) await app.stop();
    if (left > 0 && !this.#hasFailed)
      throw new Error(`This file left ${String(left)} applications running: close each TestApp`);
  }
}
