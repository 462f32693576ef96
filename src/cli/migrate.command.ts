import type { Command } from 'commander';
import { revertMigration, runMigrations } from '../platform/database/migrate.ts';
import type { CliContext } from './cli-context.ts';
import { say } from './output.ts';

export function completeMigrate(migrate: Command, cli: CliContext): void {
  migrate
    .command('run', { isDefault: true })
    .description('apply all pending migrations')
    .action(() =>
      cli.withDatabase(async (url, folders) => {
        const names = await runMigrations(url, folders);
        say(names.length === 0 ? 'Nothing to do.' : `Done: ${names.join(', ')}`);
      }),
    );

  migrate
    .command('revert')
    .description('revert the newest migration, deleting its data')
    .action(() => cli.withDatabase(revertMigration));
}
