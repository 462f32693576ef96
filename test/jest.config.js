/** Unit specs stand beside the code; everything that needs a database is an end-to-end test in this folder. */
export default {
  rootDir: '..',
  roots: ['<rootDir>/src', '<rootDir>/test', '<rootDir>/examples'],
  testMatch: ['**/*.spec.ts', '**/*.e2e.ts'],
  runtime: '<rootDir>/test/runner/native-runtime.mjs',
  testEnvironment: '<rootDir>/test/runner/native-environment.mjs',
  transform: {},
  globalSetup: '<rootDir>/test/support/global-setup.mjs',
  globalTeardown: '<rootDir>/test/support/global-teardown.mjs',
  reporters: ['<rootDir>/test/runner/reporter.mjs', 'summary'],
  // Ends a test that hangs. No test and no hook may take so long, however busy the machine is.
  testTimeout: 600_000,
  maxWorkers: 3,
};
