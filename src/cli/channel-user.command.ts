import { type Command, Option } from 'commander';
import { ChannelUserListService } from '../channel-user/channel-user-list.service.ts';
import { ImportLog } from '../channel-user/import/import-log.service.ts';
import { TEMPLATE } from '../channel-user/import/template.ts';
import { InvalidInputError } from '../platform/common/errors.ts';
import { isUuid } from '../platform/common/uuid.ts';
import { addImportCommand } from './channel-user-import.command.ts';
import { CLI, type CliContext } from './cli-context.ts';
import { say, writeTo } from './output.ts';

export function completeChannelUser(channelUser: Command, cli: CliContext): void {
  addImportCommand(channelUser, cli);

  channelUser
    .command('export')
    .description('export all channel users, without passwords, in the format of `import`')
    .addOption(new Option('--format <format>').choices(['csv', 'ndjson']).default('csv'))
    .option('--file <file>', 'write to this file instead of standard output')
    .action(({ format, file }: { format: 'csv' | 'ndjson'; file?: string }) =>
      cli.withServices((context) => writeTo(file, context.get(ChannelUserListService).export({}, format))),
    );

  channelUser
    .command('template')
    .description('print a CSV template for `import` with all column names')
    .option('--file <file>', 'write to this file instead of standard output')
    .action(({ file }: { file?: string }) => writeTo(file, [TEMPLATE]));

  channelUser
    .command('imports')
    .description('list recent imports, newest first: time, id, state and rows')
    .action(() =>
      cli.withServices(async (context) => {
        for (const { id, state, startedAt, rows } of await context.get(ImportLog).list()) {
          say([startedAt.toISOString(), id, state.padEnd(11), `${String(rows)} rows`].join('  '));
        }
      }),
    );

  channelUser
    .command('end-import')
    .description('cancel a running import on any server; nothing of it is imported')
    .argument('<id>')
    .action((id: string) =>
      cli.withServices(async (context) => {
        if (!isUuid(id))
          throw new InvalidInputError([], 'The id must be a UUID. `channel-user imports` lists the ids.');
        await context.get(ImportLog).end(id.toLowerCase(), CLI);
        say('The import is cancelled. Nothing of it was imported.');
      }),
    );
}
