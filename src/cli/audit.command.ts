import { type Command, InvalidArgumentError } from 'commander';
import { BrokenChainError } from '../audit/chain/chain.errors.ts';
import { AuditService } from '../audit/audit.service.ts';
import { AuditChain } from '../audit/chain/audit-chain.service.ts';
import { ChainVerification } from '../audit/chain/chain-verification.service.ts';
import { AuditProof, verifyExport } from '../audit/audit-proof.service.ts';
import { Clock } from '../platform/common/clock.ts';
import { InvalidInputError } from '../platform/common/errors.ts';
import { Lifecycle } from '../platform/common/lifecycle.ts';
import { Scheduler } from '../platform/common/scheduler.ts';
import { isUuid } from '../platform/common/uuid.ts';
import { connect, dataSourceOptions } from '../platform/database/data-source.ts';
import { EncryptionService } from '../platform/encryption/encryption.service.ts';
import { readHead } from './audit-head.ts';
import { sayReport } from './audit-report.ts';
import { CLI, type CliContext } from './cli-context.ts';
import { OFFLINE_CONFIG } from './offline-config.ts';
import { REASON, say, writeTo } from './output.ts';

/** Gives access to the chain without starting the application's services. */
const withChain = (
  cli: CliContext,
  work: (chain: AuditChain, verification: ChainVerification) => Promise<void>,
): Promise<void> =>
  cli.withConfig(async (config) => {
    const timeouts = config.databaseDirectUrl === undefined ? 'connection' : 'role';
    const dataSource = await connect(dataSourceOptions(config.databaseUrl, 1, timeouts));
    try {
      const encryption = new EncryptionService(config);
      const clock = new Clock();
      const chain = new AuditChain(dataSource, encryption, clock);
      if (!(await chain.exists())) {
        throw new InvalidInputError(
          [],
          'The audit trail has no chain. A server creates it on its first start. If there was one before, somebody ' +
            'removed it: dump the database before any server starts, and compare the dump with the last export.',
        );
      }
      const scheduler = new Scheduler(new Lifecycle('command'));
      await work(chain, new ChainVerification(chain, dataSource, encryption, clock, scheduler));
    } catch (error) {
      if (!(error instanceof BrokenChainError)) throw error;
      throw new InvalidInputError([], `The chain of the audit trail cannot be read: ${error.reason}.`);
    } finally {
      await dataSource.destroy();
    }
  });

const time = (text: string): Date => {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) throw new InvalidArgumentError('Expected a time such as 2026-01-31T00:00:00Z.');
  return at;
};

async function verify(cli: CliContext, options: { head?: string; export?: string }): Promise<void> {
  const { export: file } = options;
  const head = options.head === undefined ? undefined : await readHead(options.head);
  if (file === undefined) {
    await withChain(cli, async (_, verification) => {
      sayReport(await verification.verify(head));
    });
    return;
  }
  const { keyEncryptionKeys } = await cli.environment();
  if (keyEncryptionKeys) {
    sayReport(await verifyExport(file, new EncryptionService({ ...OFFLINE_CONFIG, keyEncryptionKeys }), head));
    return;
  }
  await cli.withConfig(async (config) => {
    sayReport(await verifyExport(file, new EncryptionService(config), head));
  });
}

export function completeAudit(audit: Command, cli: CliContext): void {
  audit
    .command('verify')
    .description('verify the whole chain and list every problem; exits with 1 if there are any')
    .option('--head <file>', 'output of an earlier `audit head`, to detect that later events were removed')
    .option('--export <file>', 'verify this file from `audit export` instead of the database')
    .action((options: { head?: string; export?: string }) => verify(cli, options));

  audit
    .command('head')
    .description('print the head of the chain as JSON; store it where the database administrators cannot change it')
    .option('--file <file>', 'write to this file instead of standard output')
    .action(({ file }: { file?: string }) =>
      withChain(cli, async (chain) => {
        const { sequence, mac, at } = await chain.head();
        await writeTo(file, [`${JSON.stringify({ sequence, mac: mac.toString('hex'), at })}\n`]);
      }),
    );

  audit
    .command('export')
    .description('export the trail with its proof as NDJSON: one event a line, the head last')
    .option('--from <time>', 'only events at or after this time', time)
    .option('--to <time>', 'only events before this time', time)
    .option('--file <file>', 'write to this file instead of standard output')
    .action((options: { from?: Date; to?: Date; file?: string }) =>
      cli.withServices(async (context) => {
        const { file, ...range } = options;
        await writeTo(file, context.get(AuditProof).lines(range));
      }),
    );

  audit
    .command('erase')
    .description('make the personal data of a deleted account or person permanently unreadable')
    .requiredOption('--subject <id>', 'the id of the deleted account or person')
    .option(...REASON)
    .action((options: { subject: string; reason?: string }) =>
      cli.withServices(async (context) => {
        if (!isUuid(options.subject))
          throw new InvalidInputError([], '--subject must be a UUID: the id of the deleted account or person.');
        await context.get(AuditService).erase(options.subject.toLowerCase(), options.reason, CLI);
        say('Erased. The events stay, but their data about this subject can no longer be read.');
      }),
    );
}
