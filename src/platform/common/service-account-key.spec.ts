import { createLogger } from './logging.ts';
import { withoutKeys } from './service-account-key.ts';

const KEY = `lk_sa_${'0a'.repeat(16)}_${'Zz9'.repeat(14)}q_1aB2cD`;

it('replaces whole keys and parts of them, and nothing else', () => {
  expect(withoutKeys(`a ${KEY}, b "${KEY.slice(0, 50)}"\n${KEY}`)).toBe(
    'a lk_sa_[redacted], b "lk_sa_[redacted]"\nlk_sa_[redacted]',
  );
  expect(withoutKeys('a bulk_sale and lk_sa_')).toBe('a bulk_sale and lk_sa_');
});

it('keeps keys out of every line of the log: messages, fields, errors and their causes', () => {
  let lines = '';
  const logger = createLogger('trace', { write: (line: string) => (lines += line) });
  const error = new Error(`refused ${KEY}`, { cause: new Error(`because of ${KEY}`) });
  logger.error({ err: error, field: { deep: KEY } }, `seen ${KEY}`);
  logger.child({ bound: KEY }).warn(KEY);
  expect(lines).not.toContain(KEY.slice(6, 40));
  expect(lines.match(/lk_sa_\[redacted\]/g)?.length).toBeGreaterThanOrEqual(6);
  for (const line of lines.trim().split('\n')) expect(() => JSON.parse(line) as unknown).not.toThrow();
});
