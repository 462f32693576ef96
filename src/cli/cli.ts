import { Command } from 'commander';
import { AppError } from '../platform/common/errors.ts';
import { addAuditCommands } from './audit.command.ts';
import { addChannelUserCommands } from './channel-user.command.ts';
import { CliContext } from './cli-context.ts';
import { addAfterRestoreCommand, addKeysCommands } from './keys.command.ts';
import { addMigrateCommands } from './migrate.command.ts';
import { addOpenApiCommand } from './openapi.command.ts';
import { sayFieldError } from './output.ts';
import { addStaffCommands } from './staff.command.ts';

/**
 * Runs the command that the arguments of the process name. If the command is refused, prints the reason and ends the
 * process with 1.
 */
export async function runCommand(): Promise<void> {
  const program = new Command('latchkey')
    .description('Administer Latchkey from the command line')
    .option('--application <file>', 'the built file of an application outside src')
    .showHelpAfterError();
  const cli = new CliContext(program);
  // The help text has the same order.
  addStaffCommands(program, cli);
  addKeysCommands(program, cli);
  addAfterRestoreCommand(program, cli);
  addAuditCommands(program, cli);
  addChannelUserCommands(program, cli);
  addMigrateCommands(program, cli);
  addOpenApiCommand(program, cli);
  try {
    await program.parseAsync();
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    process.stderr.write(`${error.message}\n`);
    for (const each of error.errors ?? []) sayFieldError(each);
    process.exit(1);
  }
}
