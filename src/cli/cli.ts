import { Command } from 'commander';
import { AppError } from '../platform/common/errors.ts';
import { CliContext } from './cli-context.ts';
import { sayFieldError } from './output.ts';

type Complete = (command: Command, cli: CliContext) => void;

interface Group {
  readonly description: string;
  /** Loads what completes the command, since the services behind all commands take seconds to load. */
  readonly load: () => Promise<Complete>;
}

/** The commands, in the order of the help text. */
const GROUPS: Readonly<Record<string, Group>> = {
  staff: {
    description: 'manage staff accounts',
    load: async () => (await import('./staff.command.ts')).completeStaff,
  },
  'service-account': {
    description: 'manage the identities of scripts',
    load: async () => (await import('./service-account.command.ts')).completeServiceAccount,
  },
  keys: {
    description: 'manage signing keys and encryption at rest',
    load: async () => (await import('./keys.command.ts')).completeKeys,
  },
  'after-restore': {
    description: 'after restoring an older backup: refuse every token ever issued',
    load: async () => (await import('./keys.command.ts')).completeAfterRestore,
  },
  audit: {
    description: 'verify and export the audit trail',
    load: async () => (await import('./audit.command.ts')).completeAudit,
  },
  'channel-user': {
    description: 'import and export channel users',
    load: async () => (await import('./channel-user.command.ts')).completeChannelUser,
  },
  migrate: {
    description: 'migrate the database schema',
    load: async () => (await import('./migrate.command.ts')).completeMigrate,
  },
  openapi: {
    description: 'write openapi.json',
    load: async () => (await import('./openapi.command.ts')).completeOpenApi,
  },
};

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
  for (const [name, { description }] of Object.entries(GROUPS)) program.command(name).description(description);
  const complete = async (command: Command): Promise<void> => {
    (await GROUPS[command.name()]?.load())?.(command, cli);
  };
  program.hook('preSubcommand', (_, command) => complete(command));
  // Commander's own would show a command that is not complete.
  program
    .helpCommand(false)
    .command('help')
    .argument('[command]')
    .description('display help for command')
    .action(async (name?: string) => {
      const command = program.commands.find((each) => each.name() === name) ?? program;
      await complete(command);
      command.outputHelp();
    });
  try {
    await program.parseAsync();
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    process.stderr.write(`${error.message}\n`);
    for (const each of error.errors ?? []) sayFieldError(each);
    process.exit(1);
  }
}
