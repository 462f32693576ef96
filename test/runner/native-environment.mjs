import { TestEnvironment } from 'jest-environment-node';

/** The globals of the process itself, see `native-runtime.mjs`. */
export default class NativeEnvironment extends TestEnvironment {
  constructor(config, context) {
    super(config, context);
    this.global = globalThis;
    this.context = null;
  }

  setup() {
    return Promise.resolve();
  }

  teardown() {
    return Promise.resolve();
  }
}
