import eslint from '@eslint/js';
import prettier from 'eslint-config-prettier';
import regexp from 'eslint-plugin-regexp';
import tseslint from 'typescript-eslint';

/** The one file of src with more than 300 lines: a process in all its states (download, start, recovery, stop). */
const LONG_FILE = 'src/platform/embedded-postgres/embedded-postgres.ts';

const TESTS = ['src/**/*.e2e.ts', 'src/**/*.spec.ts'];
const atMost = (max) => ['error', { max, skipBlankLines: false, skipComments: false }];

export default tseslint.config(
  { ignores: ['dist/', '**/node_modules/', 'coverage/', '.latchkey/', '**/src/openapi.ts'] },
  eslint.configs.recommended,
  {
    files: ['**/*.ts', '**/*.tsx'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: {
      parserOptions: {
        project: [
          'test/tsconfig.json',
          'bench/tsconfig.json',
          'console/tsconfig.json',
          'clients/typescript/tsconfig.json',
        ],
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      // Nest finds providers by the classes in decorated signatures: those imports must stay values.
      '@typescript-eslint/consistent-type-imports': 'off',
      '@typescript-eslint/consistent-type-exports': 'error',
      // DTO, entity and configuration classes are shapes: any object of the form will do.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      '@typescript-eslint/no-misused-spread': 'off',
      // json<T>() says what the caller expects.
      '@typescript-eslint/no-unnecessary-type-parameters': 'off',
      // Modules are empty classes with a decorator.
      '@typescript-eslint/no-extraneous-class': ['error', { allowWithDecorator: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_$' }],
      '@typescript-eslint/prefer-nullish-coalescing': ['error', { ignorePrimitives: { boolean: true } }],
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      'no-console': 'error',
      'no-control-regex': 'off',
      'no-restricted-properties': [
        'error',
        { object: 'process', property: 'env', message: 'Only loadConfig() reads the environment.' },
      ],
      eqeqeq: ['error', 'always', { null: 'ignore' }],
    },
  },
  {
    // No text from outside may take an expression longer than its length. Tests read what they wrote themselves.
    files: ['src/**', 'examples/**', 'clients/**', 'console/**'],
    ignores: TESTS,
    plugins: { regexp },
    rules: {
      'regexp/no-super-linear-backtracking': ['error', { report: 'potential' }],
      'regexp/no-super-linear-move': ['error', { report: 'potential', ignorePartial: false, ignoreSticky: false }],
    },
  },
  {
    // Each wait for real time is in the table of real-time.ts, with its reason.
    files: ['**/*.e2e.ts', '**/*.spec.ts'],
    rules: {
      'no-restricted-globals': ['error', { name: 'setTimeout', message: 'Use realTime() or eventually().' }],
      'no-restricted-imports': ['error', { name: 'node:timers/promises', message: 'Use realTime() or eventually().' }],
    },
  },
  { files: ['src/**/*.ts'], ignores: [...TESTS, LONG_FILE], rules: { 'max-lines': atMost(300) } },
  { files: ['src/**/*.ts'], ignores: TESTS, rules: { 'max-lines-per-function': atMost(60) } },
  // The entry points clear the environment and hand it to loadConfig(); console/*.ts builds.
  {
    files: [
      'src/server/process.ts',
      'src/server/serve.ts',
      'src/cli/cli-context.ts',
      'src/platform/database/typeorm-cli.ts',
      'test/**/*.ts',
      'src/**/*.{e2e,spec}.ts',
      'bench/**/*.ts',
      'console/*.ts',
    ],
    rules: { 'no-restricted-properties': 'off' },
  },
  { files: ['**/*.js', '**/*.mjs', '**/*.cjs'], languageOptions: { globals: { process: 'readonly' } } },
  {
    // Pages of one-time links run in browsers, as they stand.
    files: ['src/**/page/*.js'],
    languageOptions: {
      globals: Object.fromEntries(
        [
          'addEventListener',
          'BroadcastChannel',
          'close',
          'document',
          'fetch',
          'getSelection',
          'history',
          'location',
          'navigator',
          'setTimeout',
        ].map((name) => [name, 'readonly']),
      ),
    },
  },
  prettier,
);
