/**
 * The folders of src, from the lowest to the highest; a child folder stands for itself. A folder imports those of earlier
 * lines only, so that no two folders import each other. CONTRIBUTING.md says more.
 */
const LAYERS = [
  ['partner-page/words'],
  ['partner-page/page'],
  ['platform/common'],
  ['platform/api', 'platform/config', 'platform/embedded-postgres'],
  ['platform/database', 'platform/encryption', 'platform/http', 'platform/telemetry'],
  ['audit/chain', 'rate-limit'],
  ['audit', 'password'],
  ['notice', 'settings'],
  ['channel-user/model'],
  ['channel-user/account', 'channel-user/handover'],
  ['channel-user/credential'],
  ['channel-user'],
  ['channel-user/grant', 'channel-user/import'],
  ['activity/sign-in-log'],
  ['activity/calls', 'activity/overview', 'activity/usage'],
  ['auth/scope', 'auth/signing-key'],
  ['auth/access-token'],
  ['auth/sign-in'],
  ['auth/oauth', 'auth/own-credential'],
  ['auth'],
  ['staff', 'staff/service-account', 'operations/health', 'console', 'partner-page'],
  ['staff/oidc'],
  ['operations/metrics', 'quickstart'],
  ['server'],
  ['cli'],
];
/**
 * The files of src itself are no folder: the server and the commands build what the first ones list, and the entry
 * points start the server and the commands.
 */
const CONTENTS = '^src/(app\\.module|application|extend)\\.ts$';
const ENTRY_POINTS = '^src/(main|cli)\\.ts$';
const filesOf = (folders) => `^src/(${folders.join('|')})/[^/]+$`;
const TEST = '\\.(spec|e2e)\\.ts$';

module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      comment:
        'There is no such file. What a module may use of Latchkey comes from src/extend.ts, its tests use test/kit.ts.',
      name: 'no-unresolvable',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    ...LAYERS.map((folders, i) => ({
      comment:
        'A folder of src imports only folders of the lines above its own in LAYERS in .dependency-cruiser.cjs: neither a ' +
        'higher folder nor one of its own line.',
      name: `imports-run-downwards-from-${folders[0].replace('/', '-')}`,
      severity: 'error',
      from: { path: filesOf(folders), pathNot: TEST },
      to: {
        path: '^src/',
        pathNot: [
          '^src/$1/[^/]+$',
          filesOf(LAYERS.slice(0, i).flat()),
          ...(['server', 'cli'].includes(folders[0]) ? [CONTENTS] : []),
        ],
      },
    })),
    {
      comment: 'Only the entry points of src import the server or the commands.',
      name: 'contents-do-not-import-the-server',
      severity: 'error',
      from: { path: CONTENTS },
      to: { path: ['^src/(server|cli)/', ENTRY_POINTS] },
    },
    {
      comment:
        'A folder of src that LAYERS in .dependency-cruiser.cjs does not name is a module of yours. It imports ' +
        'src/extend.ts, and nothing else of Latchkey.',
      name: 'modules-use-what-modules-may-use',
      severity: 'error',
      from: { path: '^src/([^/]+)/', pathNot: [filesOf(LAYERS.flat()), TEST] },
      to: { path: '^src/', pathNot: ['^src/$1/', '^src/extend\\.ts$'] },
    },
    {
      comment:
        'A feature imports services, modules, entities, errors, rules and types of dto of another one; a module of yours ' +
        'imports src/extend.ts instead.',
      name: 'features-meet-at-services',
      severity: 'error',
      from: { path: '^src/([^/]+)/', pathNot: ['^src/(platform|server|cli)/', TEST] },
      to: {
        path: '^src/[^/]+/',
        pathNot: [
          '^src/$1/',
          '^src/(platform|password|rate-limit)/',
          '\\.(module|service|entity|errors|rules|dto)\\.ts$',
        ],
      },
    },
    {
      comment: 'What a module may use of Latchkey comes from src/extend.ts.',
      name: 'features-do-not-import-the-application',
      severity: 'error',
      from: { path: '^src/[^/]+/', pathNot: ['^src/(server|cli)/', TEST] },
      to: { path: '^src/[^/]+\\.ts$', pathNot: '^src/extend\\.ts$' },
    },
    {
      name: 'nothing-of-the-application-stands-on-an-example',
      severity: 'error',
      from: { path: '^(src|migrations|test)/' },
      to: { path: '^examples/' },
    },
    {
      comment: 'A module outside of src imports src/extend.ts and npm packages, nothing else of Latchkey.',
      name: 'examples-use-what-modules-may-use',
      severity: 'error',
      from: { path: '^examples/([^/]+)/', pathNot: '\\.(spec|e2e)\\.ts$' },
      to: { path: '^(src|migrations|examples|test|bench)/', pathNot: ['^examples/$1/', '^src/extend\\.ts$'] },
    },
    {
      comment: 'The tests of a module outside of src import test/kit.ts, nothing else of Latchkey.',
      name: 'tests-of-examples-use-the-kit',
      severity: 'error',
      from: { path: '^examples/([^/]+)/.*\\.(spec|e2e)\\.ts$' },
      to: { path: '^(src|migrations|examples|test|bench)/', pathNot: ['^examples/$1/', '^test/kit\\.ts$'] },
    },
    // The console is a package of its own, with its own resolution (Vite's). It knows the server by openapi.json.
    { name: 'server-does-not-import-console', severity: 'error', from: {}, to: { path: '^console/' } },
    {
      name: 'src-does-not-import-tests',
      severity: 'error',
      from: { path: '^src/', pathNot: TEST },
      to: { path: '^test/' },
    },
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
