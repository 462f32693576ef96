import type { Application } from '../src/application.ts';
import type { Config } from '../src/platform/config/config.ts';
import { TestApp } from './support/app.ts';

/**
 * What the tests of a module need, in one place; docs/extending.md shows its use.
 */
export {
  type Answer,
  type GrantFields,
  type Partner,
  type PartnerWithToken,
  type StaffMember,
  TestApp,
} from './support/app.ts';
export { expectGrantsToHold, grantedRoutes, type ResourceFactory } from './support/granted-routes.ts';
export { expectMigrationsToFit } from './support/module-migrations.ts';
export { secret } from './support/secrets.ts';

/**
 * Starts the application with all modules of `app.module.ts` on a database of its own, copied from a migrated template.
 * `close()` it after the tests: that drops the database.
 *
 * @param application modules that stand elsewhere, and their migrations
 * @param config settings that differ from those of the tests
 */
export function createTestApp(application: Application = {}, config: Partial<Config> = {}): Promise<TestApp> {
  return TestApp.start(config, application);
}
