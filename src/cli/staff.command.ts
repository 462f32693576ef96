import { type Command, Option } from 'commander';
import { type Role, ROLES } from '../platform/common/principal.ts';
import { SettingsService } from '../settings/settings.service.ts';
import { DtoPipe } from '../platform/api/validation.ts';
import { CreateStaffRequest } from '../staff/staff.dto.ts';
import { StaffIdentityService } from '../staff/staff-identity.service.ts';
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

  completeSignIns(staff, cli);
}

/** The commands that undo single sign-on, when it fails. */
function completeSignIns(staff: Command, cli: CliContext): void {
  staff
    .command('detach-identity')
    .description('let a person of the identity provider sign in with a password again, and print it only this once')
    .requiredOption('--email <address>')
    .action(({ email }: { email: string }) =>
      cli.withServices(async (context) => {
        await context.get(StaffIdentityService).detach({ email }, CLI);
        const { password } = await context.get(StaffService).resetPassword({ email }, CLI);
        say(`Password: ${password}`);
      }),
    );

  staff
    .command('break-glass')
    .description('let an admin sign in with a password even if all others may not; at most three')
    .requiredOption('--email <address>')
    .option('--off', 'make it an ordinary account again', false)
    .action(({ email, off }: { email: string; off: boolean }) =>
      cli.withServices(async (context) => {
        const { secondFactor } = await context.get(StaffService).update({ email }, { breakGlass: !off }, CLI);
        say(off ? 'This is an ordinary account now.' : 'This is a break-glass account now.');
        if (!off && !secondFactor) say('It has no second factor: sign in to the console and set one up.');
      }),
    );

  staff
    .command('allow-passwords')
    .description('let everybody who has a password sign in with it again, for when the identity provider fails')
    .action(() =>
      cli.withServices(async (context) => {
        await context.get(SettingsService).update({ localSignIn: 'everybody' }, CLI);
        say('Everybody who has a password can sign in with it.');
      }),
    );
}
