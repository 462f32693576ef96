import type { INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Command, InvalidArgumentError, Option } from 'commander';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { type FileHandle, open, readFile, rm, writeFile } from 'node:fs/promises';
import { BlockList } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { createApp } from './app.ts';
import { AppModule } from './app.module.ts';
import { type Application, loadApplication } from './application.ts';
import { AuditChain, type ChainReport } from './audit/audit-chain.service.ts';
import { AuditProof, verifyExport } from './audit/audit-proof.service.ts';
import { BrokenChainError } from './audit/audit.errors.ts';
import { AuditService } from './audit/audit.service.ts';
import type { Link } from './audit/chain-link.ts';
import { Clock } from './common/clock.ts';
import { AppError, type FieldError, InvalidInputError } from './common/errors.ts';
import { createLogger, NestLogger } from './common/logging.ts';
import { UUID_PATTERN } from './common/page.ts';
import { type Actor, type Role, ROLES } from './common/request-context.ts';
import { DtoPipe } from './common/validation.ts';
import { type Config, loadConfig } from './config/config.ts';
import { connect, dataSourceOptions } from './database/data-source.ts';
import { revertMigration, runMigrations } from './database/migrate.ts';
import { MigrationFolders } from './database/migration-folders.ts';
import { EncryptionService } from './encryption/encryption.service.ts';
import { exitWith } from './exit.ts';
import { HandoverService } from './handover/handover.service.ts';
import { WebhookService } from './notice/webhook.service.ts';
import type { ImportSummaryDto } from './import/import.dto.ts';
import { ImportLog } from './import/import-log.service.ts';
import type { IssuedCredential } from './import/import-run.ts';
import { ImportService } from './import/import.service.ts';
import { buildOpenApi } from './openapi.ts';
import { type SigningKeyPurpose, SigningKeyService } from './signing-key/signing-key.service.ts';
import { CreateStaffRequest } from './staff/staff.dto.ts';
import { SecondFactorService } from './staff/second-factor.service.ts';
import { StaffService } from './staff/staff.service.ts';
import { prepare } from './startup.ts';
import { pino } from 'pino';

const CLI: Actor = { type: 'cli', id: null, name: 'cli', address: null, requestId: null };

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

/** As in `email must be an e-mail address`, and `line 17 username is taken` for what is wrong with a row of a file. */
function sayFieldError({ field, messages }: FieldError): void {
  const words = field.replace(/^rows\.(\d+)\.?/, 'line $1 ').trim();
  process.stderr.write(`  ${words === '' ? '' : `${words} `}${messages.join(', ')}\n`);
}

/** Runs a command with the application's own services, on the database that the environment names. */
async function withServices(work: (context: INestApplicationContext) => Promise<void>): Promise<void> {
  const environment = loadConfig(process.env);
  const application = await chosenApplication();
  const runtime = await prepare(environment, 'command', { migrations: application.migrations });
  try {
    const logger = createLogger('warn', pino.destination({ fd: 2, sync: true }));
    const context = await NestFactory.createApplicationContext(AppModule.for(runtime.config, application, 'command'), {
      logger: new NestLogger(logger),
      abortOnError: false,
    });
    try {
      await work(context);
    } finally {
      await context.close();
    }
  } finally {
    await runtime.stop();
  }
}

/** Holds the options to the same rules as the API. @throws InvalidInputError */
const checked = (options: { email: string; name: string; role: Role }): CreateStaffRequest =>
  new DtoPipe().transform(options, { type: 'body', metatype: CreateStaffRequest }) as CreateStaffRequest;

/** Migrations need the database only: with DATABASE_URL, nothing is started around them. */
async function withDatabase(work: (url: string, folders: readonly URL[]) => Promise<void>): Promise<void> {
  const environment = loadConfig(process.env);
  const folders = await new MigrationFolders((await chosenApplication()).migrations).all();
  const direct = environment.databaseDirectUrl ?? environment.databaseUrl;
  if (direct !== undefined) return work(direct, folders);
  const { startEmbeddedPostgres } = await import('./database/embedded-postgres.ts');
  const postgres = await startEmbeddedPostgres({ dataDir: environment.dataDir, mode: 'command' });
  try {
    await work(postgres.url, folders);
  } finally {
    await postgres.stop();
  }
}

/** A configuration for describing the application without running it. */
const NOWHERE: Config = {
  production: false,
  port: 3000,
  adminPort: undefined,
  opsPort: undefined,
  databaseUrl: 'postgres://nowhere',
  databaseDirectUrl: undefined,
  databasePoolSize: 1,
  directoryCacheSize: 1_000,
  tokenCacheSize: 1_000,
  redisUrl: undefined,
  activityRetentionDays: 90,
  publicUrl: 'http://localhost:3000',
  tokenAudience: 'http://localhost:3000',
  keyEncryptionKeys: [Buffer.alloc(32)],
  signingKeyRotationDays: 0,
  trustedProxies: new BlockList(),
  webhookAllowedNetworks: new BlockList(),
  legacyQueryCredentials: false,
};

const program = new Command('latchkey')
  .description('Latchkey on the command line')
  .option('--application <file>', 'of an application that stands outside of src, as it is after the build')
  .showHelpAfterError();

const chosenApplication = (): Promise<Application> =>
  loadApplication(program.opts<{ application?: string }>().application);

const staff = program.command('staff').description('the people who provision');

staff
  .command('create')
  .description('create an account and show its password this once')
  .requiredOption('--email <address>')
  .requiredOption('--name <name>')
  .addOption(new Option('--role <role>').choices(ROLES).default('admin'))
  .action(({ email, name, role }: { email: string; name: string; role: Role }) =>
    withServices(async (context) => {
      const created = await context.get(StaffService).create(checked({ email, name, role }), CLI);
      say(`E-mail: ${created.email}`);
      say(`Role: ${created.role}`);
      say(`Password: ${created.password}`);
    }),
  );

staff
  .command('reset-password')
  .description('show a new password this once and end the sessions')
  .requiredOption('--email <address>')
  .action(({ email }: { email: string }) =>
    withServices(async (context) => {
      const { password } = await context.get(StaffService).resetPassword({ email }, CLI);
      say(`Password: ${password}`);
    }),
  );

staff
  .command('reset-second-factor')
  .description('for somebody who lost it: take the second factor away and end the sessions')
  .requiredOption('--email <address>')
  .action(({ email }: { email: string }) =>
    withServices(async (context) => {
      const hadOne = await context.get(StaffService).resetSecondFactor({ email }, CLI);
      say(hadOne ? 'Second factor removed; the sessions have ended.' : 'There was no second factor.');
    }),
  );

const keys = program.command('keys').description('the keys that sign tokens, and those that encrypt at rest');
const reason = ['--reason <text>', 'for the audit trail'] as const;

async function sayKeys(service: SigningKeyService): Promise<void> {
  const { items, nextRotationAt } = await service.list();
  for (const { kid, purpose, state, createdAt } of items) {
    say([kid, purpose.padEnd(7), state.padEnd(9), createdAt.toISOString()].join('  '));
  }
  say(`Next rotation: ${nextRotationAt?.toISOString() ?? 'by hand'}`);
}

keys
  .command('list')
  .description('every signing key there was, newest first')
  .action(() => withServices((context) => sayKeys(context.get(SigningKeyService))));

keys
  .command('rotate')
  .description('sign with the standby from now on; no token is refused')
  .addOption(new Option('--purpose <purpose>').choices(['partner', 'staff']).default('partner'))
  .option(...reason)
  .action((options: { purpose: SigningKeyPurpose; reason?: string }) =>
    withServices(async (context) => {
      const service = context.get(SigningKeyService);
      await service.rotate(options.purpose, options.reason, CLI);
      await sayKeys(service);
    }),
  );

keys
  .command('revoke')
  .description('a key is compromised: refuse every token it signed')
  .argument('<kid>')
  .option(...reason)
  .action((kid: string, options: { reason?: string }) =>
    withServices(async (context) => {
      const service = context.get(SigningKeyService);
      await service.revoke(kid, options.reason, CLI);
      await sayKeys(service);
    }),
  );

keys
  .command('re-encrypt')
  .description('encrypt everything at rest under the first of KEY_ENCRYPTION_KEYS')
  .action(() =>
    withServices(async (context) => {
      const signingKeys = await context.get(SigningKeyService).reencrypt();
      const personalKeys = await context.get(AuditService).reencrypt();
      const secondFactors = await context.get(SecondFactorService).reencrypt();
      const handovers = await context.get(HandoverService).reencrypt();
      const webhooks = await context.get(WebhookService).reencrypt();
      say(
        `Encrypted anew: ${String(signingKeys)} signing keys, ${String(personalKeys)} keys of the audit trail, ` +
          `${String(secondFactors)} second factors, ${String(handovers)} passwords that wait to be handed over, ` +
          `the secrets of ${String(webhooks)} webhooks.`,
      );
    }),
  );

program
  .command('after-restore')
  .description('after a restore to an earlier time: refuse every token ever issued, revoked ones among them')
  .option(...reason)
  .action((options: { reason?: string }) =>
    withServices(async (context) => {
      const count = await context.get(SigningKeyService).revokeAll(options.reason ?? 'after a restore', CLI);
      say(`${String(count)} signing keys revoked: partners obtain new tokens, staff sign in again.`);
    }),
  );

const audit = program.command('audit').description('the audit trail and its chain');

/** The configuration and the database, with nothing started on them: a start may begin a chain, before anybody has looked. */
async function withConfig(work: (config: Config) => Promise<void>): Promise<void> {
  const environment = loadConfig(process.env);
  const { migrations } = await chosenApplication();
  const runtime = await prepare(environment, 'command', { migrations });
  try {
    await work(runtime.config);
  } finally {
    await runtime.stop();
  }
}

const withChain = (work: (chain: AuditChain) => Promise<void>): Promise<void> =>
  withConfig(async (config) => {
    const timeouts = config.databaseDirectUrl === undefined ? 'connection' : 'role';
    const dataSource = await connect(dataSourceOptions(config.databaseUrl, 1, timeouts));
    try {
      const chain = new AuditChain(dataSource, new EncryptionService(config), new Clock());
      if (!(await chain.exists())) {
        throw new InvalidInputError(
          [],
          'The audit trail has no chain. A server begins one when it first starts; if there has been one, somebody ' +
            'removed it: keep a dump of the database before any server starts, and compare it with the last export.',
        );
      }
      await work(chain);
    } catch (error) {
      if (!(error instanceof BrokenChainError)) throw error;
      throw new InvalidInputError([], `The chain of the audit trail cannot be read: ${error.reason}.`);
    } finally {
      await dataSource.destroy();
    }
  });

/** Says what was found. Ends with 1 when something does not fit. */
function sayReport({ events, head, kinds, findings }: ChainReport): void {
  if (head && findings.length === 0) {
    say(`Intact: ${String(events)} events, head ${String(head.sequence)} ${head.mac.toString('hex')}`);
    return;
  }
  const [first, ...more] = findings;
  say(`Broken at event ${String(first?.sequence)}, which ${first?.detail ?? 'was not found'}.`);
  for (const { kind, sequence, detail } of more) say(`  ${kind}: event ${String(sequence)} ${detail}`);
  say(`Found: ${kinds.join(', ')}. ${String(events)} events were read.`);
  process.exitCode = 1;
}

/** @throws InvalidInputError */
async function readHead(file: string): Promise<Link> {
  const { sequence, mac } = JSON.parse(await readFile(file, 'utf8')) as Partial<Record<string, unknown>>;
  if (!Number.isSafeInteger(sequence) || typeof mac !== 'string' || !/^[0-9a-f]{64}$/.test(mac)) {
    throw new InvalidInputError([], `${file} does not hold a head: it is what \`audit head\` prints.`);
  }
  return { sequence: Number(sequence), mac: Buffer.from(mac, 'hex') };
}

const moment = (text: string): Date => {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) throw new InvalidArgumentError('It must be a time, as in 2026-01-31T00:00:00Z.');
  return at;
};

audit
  .command('verify')
  .description('follow the whole chain and say everything that does not fit; ends with 1 if something does not')
  .option('--head <file>', 'what `audit head` printed earlier: the end may not have been cut off since')
  .option('--export <file>', 'a file of `audit export` in place of the database')
  .action(async (options: { head?: string; export?: string }) => {
    const { export: file } = options;
    const head = options.head === undefined ? undefined : await readHead(options.head);
    if (file === undefined) {
      await withChain(async (chain) => {
        sayReport(await chain.verify(head));
      });
      return;
    }
    const { keyEncryptionKeys } = loadConfig(process.env);
    if (keyEncryptionKeys) {
      sayReport(await verifyExport(file, new EncryptionService({ ...NOWHERE, keyEncryptionKeys }), head));
      return;
    }
    await withConfig(async (config) => {
      sayReport(await verifyExport(file, new EncryptionService(config), head));
    });
  });

audit
  .command('head')
  .description('where the chain ends, as JSON: keep it where nobody who administers the database can change it')
  .action(() =>
    withChain(async (chain) => {
      const { sequence, mac, at } = await chain.head();
      say(JSON.stringify({ sequence, mac: mac.toString('hex'), at }));
    }),
  );

audit
  .command('export')
  .description('the trail with its proof, an event a line (NDJSON), and the head as the last line')
  .option('--from <time>', 'not before this moment', moment)
  .option('--to <time>', 'before this moment', moment)
  .option('--file <file>', 'where to, in place of the standard output')
  .action((options: { from?: Date; to?: Date; file?: string }) =>
    withServices(async (context) => {
      const { file, ...range } = options;
      const lines = context.get(AuditProof).lines(range);
      if (file === undefined) await pipeline(lines, process.stdout, { end: false });
      else await pipeline(lines, createWriteStream(file, { mode: 0o600 }));
    }),
  );

audit
  .command('erase')
  .description('make what the trail says about a deleted account or person unreadable for good')
  .requiredOption('--subject <id>', 'the id that the account had')
  .option(...reason)
  .action((options: { subject: string; reason?: string }) =>
    withServices(async (context) => {
      if (!UUID_PATTERN.test(options.subject)) throw new InvalidInputError([], 'The subject must be a UUID.');
      await context.get(AuditService).erase(options.subject.toLowerCase(), options.reason, CLI);
      say('Erased. The events stay; what they said about this subject cannot be read any more.');
    }),
  );

const channelUser = program.command('channel-user').description("the partners' accounts");

/** A line of a CSV file that no spreadsheet takes for a formula: the values are UUIDs and usernames in quotes. */
const passwordLine = ({ row, username, id, fingerprint, password }: IssuedCredential): string =>
  `${String(row)},"${/^[@-]/.test(username) ? "'" : ''}${username}",${id},${fingerprint},${password}\r\n`;

/** @throws AppError when it exists */
async function createFile(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'wx', 0o600);
  } catch (error) {
    throw new InvalidInputError([], `${file} cannot be created: ${(error as Error).message}`);
  }
}

function sayImport({ outcome, rows, created, failed, errorCount }: ImportSummaryDto): void {
  const result = outcome === 'checked' ? 'would be imported' : 'were imported';
  process.stderr.write(
    `${String(created)} of ${String(rows)} rows ${result}, ${String(failed)} have ${String(errorCount)} errors.\n`,
  );
}

channelUser
  .command('import')
  .description('bring the partners of an older system over; passwords that were generated are shown this once, as CSV')
  .argument('<file>', 'CSV, or NDJSON if its name ends so')
  .option('--dry-run', 'check everything, keep nothing', false)
  .option('--partial', 'import the rows that are valid, though others are not', false)
  .option('--passwords-to <file>', 'where to, in place of the standard output; it must not exist')
  .action(async (file: string, options: { dryRun: boolean; partial: boolean; passwordsTo?: string }) => {
    const { dryRun, partial, passwordsTo } = options;
    // Before anything is imported.
    const source = createReadStream(file);
    await once(source, 'open').catch((error: unknown) => {
      throw new InvalidInputError([], `${file} cannot be read: ${(error as Error).message}`);
    });
    const target = passwordsTo === undefined ? undefined : await createFile(passwordsTo);
    const shown = { passwords: 0 };
    try {
      await withServices(async (context) => {
        const id = randomUUID();
        const progress = setInterval(() => {
          void context
            .get(ImportLog)
            .get(id)
            .then(({ rows }) => process.stderr.write(`${String(rows)} rows…\n`))
            .catch(() => undefined);
        }, 2_000);
        const format = /\.(nd)?jsonl?$/i.test(file) ? 'ndjson' : 'csv';
        try {
          const finished = await context.get(ImportService).run(source, { id, format, dryRun, partial }, CLI);
          clearInterval(progress);
          sayImport(finished.summary);
          for (const error of finished.summary.errors) sayFieldError(error);
          const lines = async function* (): AsyncGenerator<string> {
            for await (const credential of finished.credentials()) {
              const header = shown.passwords++ === 0 ? 'row,username,id,fingerprint,password\r\n' : '';
              yield header + passwordLine(credential);
            }
          };
          try {
            if (target) await pipeline(lines, target.createWriteStream({ flush: true }));
            else await pipeline(lines, process.stdout, { end: false });
          } finally {
            await finished.release();
          }
          if (finished.summary.failed > 0) process.exitCode = 1;
        } finally {
          clearInterval(progress);
        }
      });
    } finally {
      await target?.close().catch(() => undefined);
      if (passwordsTo !== undefined && shown.passwords === 0) await rm(passwordsTo, { force: true });
    }
  });

const migrate = program.command('migrate').description('the database schema');

migrate
  .command('run', { isDefault: true })
  .description('bring the schema to its newest form')
  .action(() =>
    withDatabase(async (url, folders) => {
      const names = await runMigrations(url, folders);
      say(names.length === 0 ? 'Nothing to do.' : `Done: ${names.join(', ')}`);
    }),
  );

migrate
  .command('revert')
  .description('take back the newest migration, with its data')
  .action(() => withDatabase(revertMigration));

program
  .command('openapi')
  .description('write openapi.json')
  .argument('[file]', 'where to', 'openapi.json')
  .action(async (file: string) => {
    const application = await chosenApplication();
    const { nest } = await createApp(NOWHERE, createLogger('silent'), { preview: true, application });
    await writeFile(file, `${JSON.stringify(buildOpenApi(nest), null, 2)}\n`);
  });

program.parseAsync().catch((error: unknown) => {
  if (!(error instanceof AppError)) exitWith(error);
  process.stderr.write(`${error.message}\n`);
  for (const each of error.errors ?? []) sayFieldError(each);
  process.exit(1);
});
