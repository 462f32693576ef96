/**
 * Who may import whom. CONTRIBUTING.md says why. The console is a package of its own, with its own resolution (Vite's):
 * it knows the server by openapi.json, and `npm run boundaries` only sees that nothing here imports it.
 */
module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    { name: 'no-unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'common-imports-nothing',
      severity: 'error',
      from: { path: '^src/common/', pathNot: '\\.spec\\.ts$' },
      to: { path: '^(src|migrations|test)/', pathNot: '^src/common/' },
    },
    {
      name: 'config-imports-nothing',
      severity: 'error',
      from: { path: '^src/config/' },
      to: { path: '^(src|migrations|test)/', pathNot: '^src/config/' },
    },
    {
      name: 'database-imports-common-and-config',
      severity: 'error',
      from: { path: '^src/database/' },
      to: { path: '^(src|test)/', pathNot: '^src/(database|common|config)/' },
    },
    {
      // An entity may import an entity, for a relation.
      name: 'features-meet-at-modules-and-services',
      severity: 'error',
      from: { path: '^src/([^/]+)/', pathNot: '^src/(common|config|database)/|\\.entity\\.ts$' },
      to: {
        path: '^src/[^/]+/',
        pathNot: ['^src/$1/', '^src/(common|config|database)/', '\\.(module|service)\\.ts$'],
      },
    },
    {
      name: 'entities-meet-entities',
      severity: 'error',
      from: { path: '^src/([^/]+)/.*\\.entity\\.ts$' },
      to: { path: '^src/[^/]+/', pathNot: ['^src/$1/', '^src/(common|config)/', '\\.entity\\.ts$'] },
    },
    {
      // Controllers speak to auth through the decorators of common/security.
      name: 'few-import-auth',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(auth|oauth|staff)/|^src/app\\.module\\.ts$' },
      to: { path: '^src/auth/' },
    },
    {
      // But for what modules may use.
      name: 'features-do-not-import-the-application',
      severity: 'error',
      from: { path: '^src/[^/]+/' },
      to: { path: '^src/[^/]+\\.ts$', pathNot: '^src/extend\\.ts$' },
    },
    {
      name: 'nothing-of-the-application-stands-on-an-example',
      severity: 'error',
      from: { path: '^(src|migrations|test)/' },
      to: { path: '^examples/' },
    },
    {
      // Each is what somebody else would write.
      name: 'examples-use-what-modules-may-use',
      severity: 'error',
      from: { path: '^examples/([^/]+)/', pathNot: '\\.(spec|e2e)\\.ts$' },
      to: { path: '^(src|migrations|examples|test|bench)/', pathNot: ['^examples/$1/', '^src/extend\\.ts$'] },
    },
    {
      name: 'tests-of-examples-use-the-kit',
      severity: 'error',
      from: { path: '^examples/([^/]+)/.*\\.(spec|e2e)\\.ts$' },
      to: { path: '^(src|migrations|examples|test|bench)/', pathNot: ['^examples/$1/', '^test/kit\\.ts$'] },
    },
    { name: 'server-does-not-import-console', severity: 'error', from: {}, to: { path: '^console/' } },
    { name: 'src-does-not-import-tests', severity: 'error', from: { path: '^src/' }, to: { path: '^test/' } },
    {
      name: 'migrations-stand-alone',
      severity: 'error',
      from: { path: '(^|/)migrations/' },
      to: { path: '^(src|test|examples)/' },
    },
    {
      name: 'production-code-uses-production-packages',
      severity: 'error',
      from: { path: '^(src|migrations|examples)/', pathNot: '\\.(spec|e2e)\\.ts$' },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
  },
};
