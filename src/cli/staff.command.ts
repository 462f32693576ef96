import { type Command, Option } from 'commander';
import { type Role, ROLES } from '../platform/common/principal.ts';
import { DtoPipe } from '../platform/api/validation.ts';
import { CreateStaffRequest } from '../staff/staff.dto.ts';
import { StaffService } from '../staff/staff.service.ts';
import { CLI, type CliContext } from './cli-context.ts';
import { say } from './output.ts';

/** Checks the options by the API's rules. @throws InvalidInputError */
const checked = (options: { email: string; name: string; role: Role }): CreateStaffRequest =>
  new DtoPipe().transform(options, { type: 'body', metatype: CreateStaffRequest }) as CreateStaffRequest;

export function completeStaff(staff: Command, cli: CliContext): void {
  staff
    .command('create')
    .description('create an account and print its password, only this once')
    .requiredOption('--email <address>')
    .requiredOption('--name <name>')
    .addOption(new Option('--role <role>').choices(ROLES).default('admin'))
    .action(({ email, name, role }: { email: string; name: string; role: Role }) =>
      cli.withServices(async (context) => {
        const created = await context.get(StaffService).create(checked({ email, name, role }), CLI);
        say(`E-mail: ${created.email}`);
        say(`Role: ${created.role}`);
        say(`Password: ${created.password}`);
      }),
    );

  staff
    .command('reset-password')
    .description('set a new password, print it only this once, and end all sessions')
    .requiredOption('--email <address>')
    .action(({ email }: { email: string }) =>
      cli.withServices(async (context) => {
        const { password } = await context.get(StaffService).resetPassword({ email }, CLI);
        say(`Password: ${password}`);
      }),
    );

  staff
    .command('reset-second-factor')
    .description('remove the second factor of a person who lost it, and end all sessions')
    .requiredOption('--email <address>')
    .action(({ email }: { email: string }) =>
      cli.withServices(async (context) => {
        const hadOne = await context.get(StaffService).resetSecondFactor({ email }, CLI);
        say(hadOne ? 'Second factor removed. All sessions have ended.' : 'This account has no second factor.');
      }),
    );
}
