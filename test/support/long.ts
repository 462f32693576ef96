/** Whether to run slow tests in full, as `npm run test:faults` does. */
export const isLong = process.env['LATCHKEY_TEST_LONG'] === 'true';
