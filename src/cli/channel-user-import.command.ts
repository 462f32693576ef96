import type { INestApplicationContext } from '@nestjs/common';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, type ReadStream } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import type { ImportSummaryDto } from '../channel-user/import/import.dto.ts';
import { ImportLog } from '../channel-user/import/import-log.service.ts';
import type { IssuedCredential } from '../channel-user/import/import-run.ts';
import { ImportService } from '../channel-user/import/import.service.ts';
import { csvLines } from '../platform/common/csv.ts';
import { InvalidInputError } from '../platform/common/errors.ts';
import { CLI, type CliContext } from './cli-context.ts';
import { sayFieldError } from './output.ts';

/** Lines of CSV without defused formulas, because usernames, UUIDs and links cannot be harmful formulas. */
async function* credentialLines(
  credentials: AsyncIterable<IssuedCredential>,
  shown: { count: number },
): AsyncGenerator<string> {
  for await (const { row, username, id, fingerprint, ...secrets } of credentials) {
    const [names, values] =
      'password' in secrets
        ? [['password'], [secrets.password]]
        : [
            ['handoverUrl', 'expiresAt'],
            [secrets.handoverUrl, secrets.expiresAt.toISOString()],
          ];
    if (shown.count++ === 0) yield csvLines([['row', 'username', 'id', 'fingerprint', ...names]]);
    yield csvLines([[String(row), username, id, fingerprint, ...values]]);
  }
}

interface ImportCommand {
  readonly dryRun: boolean;
  readonly partial: boolean;
  readonly passwordsTo?: string;
  readonly linksTo?: string;
  readonly linkTtl?: number;
}

function linkTtl(text: string): number {
  const seconds = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (seconds >= 300 && seconds <= 2_592_000) return seconds;
  throw new InvalidArgumentError('Expected a whole number of seconds from 300 to 2592000.');
}

/** @throws InvalidInputError when the file already exists or cannot be created */
async function createFile(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'wx', 0o600);
  } catch (error) {
    throw new InvalidInputError([], `${file} cannot be created: ${(error as Error).message}`);
  }
}

function sayImport({ outcome, rows, created, failed, errorCount, warnings }: ImportSummaryDto): void {
  const result = outcome === 'checked' ? 'would be imported' : 'were imported';
  process.stderr.write(
    `${String(created)} of ${String(rows)} rows ${result}. Rows with errors: ${String(failed)}. ` +
      `Errors: ${String(errorCount)}.\n`,
  );
  for (const warning of warnings) process.stderr.write(`${warning}\n`);
}

/** @throws InvalidInputError */
async function openSource(file: string): Promise<ReadStream> {
  const source = createReadStream(file);
  await once(source, 'open').catch((error: unknown) => {
    throw new InvalidInputError([], `${file} cannot be read: ${(error as Error).message}`);
  });
  return source;
}

/** Prints every two seconds how many rows have been read. */
function sayProgress(log: ImportLog, id: string): NodeJS.Timeout {
  return setInterval(() => {
    void log
      .get(id)
      .then(({ rows }) => process.stderr.write(`${String(rows)} rows…\n`))
      .catch(() => undefined);
  }, 2_000);
}

interface Importing {
  readonly source: ReadStream;
  readonly format: 'csv' | 'ndjson';
  readonly options: ImportCommand;
  readonly write: (credentials: AsyncIterable<IssuedCredential>) => Promise<void>;
}

async function runImport(context: INestApplicationContext, importing: Importing): Promise<void> {
  const { source, format, options, write } = importing;
  const { dryRun, partial, linksTo, linkTtl: ttlSeconds } = options;
  const id = randomUUID();
  const progress = sayProgress(context.get(ImportLog), id);
  try {
    const links = linksTo === undefined ? undefined : { ttlSeconds };
    const finished = await context.get(ImportService).run(source, { id, format, dryRun, partial, links }, CLI);
    clearInterval(progress);
    sayImport(finished.summary);
    for (const error of finished.summary.errors) sayFieldError(error);
    try {
      await write(finished.credentials());
    } finally {
      await finished.release();
    }
    if (finished.summary.failed > 0) process.exitCode = 1;
  } finally {
    clearInterval(progress);
  }
}

async function importFile(cli: CliContext, file: string, options: ImportCommand): Promise<void> {
  const { linksTo, passwordsTo, linkTtl } = options;
  if (linkTtl !== undefined && linksTo === undefined) {
    throw new InvalidInputError([], '--link-ttl is allowed only with --links-to.');
  }
  const secretsTo = linksTo ?? passwordsTo;
  // Opens both files before anything is imported.
  const source = await openSource(file);
  const target = secretsTo === undefined ? undefined : await createFile(secretsTo);
  const format = /\.(nd)?jsonl?$/i.test(file) ? 'ndjson' : 'csv';
  const shown = { count: 0 };
  const write = (credentials: AsyncIterable<IssuedCredential>): Promise<void> => {
    const lines = credentialLines(credentials, shown);
    if (target) return pipeline(lines, target.createWriteStream({ flush: true }));
    return pipeline(lines, process.stdout, { end: false });
  };
  try {
    await cli.withServices((context) => runImport(context, { source, format, options, write }));
  } finally {
    await target?.close().catch(() => undefined);
    if (secretsTo !== undefined && shown.count === 0) await rm(secretsTo, { force: true });
  }
}

/** @param channelUser the command group to which the command is added */
export function addImportCommand(channelUser: Command, cli: CliContext): void {
  channelUser
    .command('import')
    .description('import the partners of an older system; prints generated passwords as CSV, only this once')
    .argument('<file>', 'a CSV file, or NDJSON if its name ends in .ndjson')
    .option('--dry-run', 'check the whole file and store nothing', false)
    .option('--partial', 'import the valid rows even if others have errors', false)
    .option('--passwords-to <file>', 'write generated passwords to this new file instead of standard output')
    .addOption(
      new Option('--links-to <file>', 'write one-time links instead of passwords, to this new file').conflicts(
        'passwordsTo',
      ),
    )
    .option('--link-ttl <seconds>', 'how long the links work, from 300 to 2592000 (default: 259200)', linkTtl)
    .action((file: string, options: ImportCommand) => importFile(cli, file, options));
}
