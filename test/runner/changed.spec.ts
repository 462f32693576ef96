import { testsOf } from './changed.ts';

it.each([
  ['a test', 'src/notice/notice.e2e.ts', 'src/notice/notice.e2e.ts', 'src/auth/guard.e2e.ts'],
  ['a file of a feature', 'src/notice/post.ts', 'src/notice/notice.e2e.ts', 'src/auth/guard.e2e.ts'],
  [
    'a child folder',
    'src/channel-user/import/import.service.ts',
    'src/channel-user/import/import.e2e.ts',
    'src/channel-user/channel-user.e2e.ts',
  ],
  ['the platform', 'src/platform/http/deadline.ts', 'test/platform/http-edge.e2e.ts', 'src/notice/notice.e2e.ts'],
  [
    'a migration',
    'migrations/1796700000000-external-id.ts',
    'test/platform/migrations.e2e.ts',
    'src/auth/guard.e2e.ts',
  ],
  ['a page', 'docs/deploying.md', 'test/packaging/manuals.e2e.ts', 'src/auth/guard.e2e.ts'],
  ['a helper of some tests', 'test/support/receiver.ts', 'src/notice/notice.e2e.ts', 'src/auth/guard.e2e.ts'],
])('chooses the tests of %s', (_, file, chosen, left) => {
  const patterns = testsOf([file]);
  const isChosen = (test: string): boolean =>
    patterns === 'all' || patterns.some((each) => new RegExp(each).test(test));
  expect([isChosen(chosen), isChosen(left)]).toEqual([true, false]);
});

it('chooses all tests when what all of them use has changed', () => {
  expect(testsOf(['src/notice/post.ts', 'test/support/app.ts'])).toBe('all');
  expect(testsOf(['package.json'])).toBe('all');
});

it('chooses none when nothing that has a test has changed', () => {
  expect(testsOf([])).toEqual([]);
});
