import eslint from '@eslint/js';
import prettier from 'eslint-config-prettier';
import tseslint from 'typescript-eslint';

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
  // The entry points hand the environment to loadConfig(); console/*.ts builds.
  {
    files: [
      'src/serve.ts',
      'src/cli.ts',
      'src/database/typeorm-cli.ts',
      'test/**/*.ts',
      'bench/**/*.ts',
      'console/*.ts',
    ],
    rules: { 'no-restricted-properties': 'off' },
  },
  { files: ['**/*.js', '**/*.mjs', '**/*.cjs'], languageOptions: { globals: { process: 'readonly' } } },
  {
    // The page of a hand-over link runs in browsers, as it stands.
    files: ['src/handover/page/*.js'],
    languageOptions: {
      globals: Object.fromEntries(
        ['addEventListener', 'document', 'fetch', 'getSelection', 'history', 'location', 'navigator', 'setTimeout'].map(
          (name) => [name, 'readonly'],
        ),
      ),
    },
  },
  prettier,
);
