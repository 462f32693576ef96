import { type Command, Option } from 'commander';
import { DtoPipe } from '../platform/api/validation.ts';
import { type Role, ROLES } from '../platform/common/principal.ts';
import { CreateServiceAccountRequest } from '../staff/service-account/service-account.dto.ts';
import { ServiceAccountService } from '../staff/service-account/service-account.service.ts';
import { CLI, type CliContext } from './cli-context.ts';
import { REASON, say } from './output.ts';

interface CreateOptions {
  readonly name: string;
  readonly role: Role;
  readonly expiresAt?: string;
  readonly allowedIp?: string[];
}

/** Checks the options by the API's rules. @throws InvalidInputError */
const checked = ({ allowedIp: allowedIps = [], ...fields }: CreateOptions): CreateServiceAccountRequest =>
  new DtoPipe().transform(
    { ...fields, allowedIps },
    { type: 'body', metatype: CreateServiceAccountRequest },
  ) as CreateServiceAccountRequest;

export function completeServiceAccount(serviceAccount: Command, cli: CliContext): void {
  serviceAccount
    .command('create')
    .description('create the identity of a script and print its key, only this once')
    .requiredOption('--name <name>')
    .addOption(new Option('--role <role>').choices(ROLES).makeOptionMandatory())
    .option('--expires-at <time>', 'when its keys stop working, in ISO 8601; never by default')
    .option('--allowed-ip <network...>', 'the only addresses or networks that may use its keys')
    .action((options: CreateOptions) =>
      cli.withServices(async (context) => {
        const { id, role, key } = await context.get(ServiceAccountService).create(checked(options), CLI);
        say(`Id: ${id}`);
        say(`Role: ${role}`);
        say(`Key: ${key}`);
      }),
    );

  serviceAccount
    .command('list')
    .description('list service accounts with role, status and last use, sorted by name')
    .action(() =>
      cli.withServices(async (context) => {
        for (const { id, name, role, status, lastUsedAt } of await context.get(ServiceAccountService).list()) {
          say([id, role.padEnd(8), status.padEnd(9), lastUsedAt?.toISOString() ?? 'never used', name].join('  '));
        }
      }),
    );

  serviceAccount
    .command('revoke')
    .description('end all keys of a service account for good')
    .requiredOption('--name <name>')
    .option(...REASON)
    .action(({ name, reason }: { name: string; reason?: string }) =>
      cli.withServices(async (context) => {
        const revoked = await context.get(ServiceAccountService).revoke({ name }, reason, CLI);
        say(`Revoked: ${revoked.name}. Its keys are refused from now on.`);
      }),
    );
}
