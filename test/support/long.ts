/** `npm run test:faults`: what takes its time is done in full. */
export const isLong = process.env['LATCHKEY_TEST_LONG'] === 'true';
