import type { INestApplicationContext } from '@nestjs/common';
import { type Command, Option } from 'commander';
import { AuditService } from '../audit/audit.service.ts';
import { KeyRotationService } from '../auth/signing-key/key-rotation.service.ts';
import type { SigningKeyPurpose } from '../auth/signing-key/signing-key.entity.ts';
import { SigningKeyService } from '../auth/signing-key/signing-key.service.ts';
import { ImportedPasswordService } from '../channel-user/account/imported-password.service.ts';
import { HandoverWipeService } from '../channel-user/handover/handover-wipe.service.ts';
import { WebhookSecretsService } from '../notice/webhook-secrets.service.ts';
import { IdTokenService } from '../staff/oidc/id-token.service.ts';
import { SecondFactorService } from '../staff/second-factor.service.ts';
import { StaffService } from '../staff/staff.service.ts';
import { CLI, type CliContext } from './cli-context.ts';
import { REASON, say } from './output.ts';

async function sayKeys(service: SigningKeyService): Promise<void> {
  const { items, nextRotationAt } = await service.list();
  for (const { kid, purpose, state, createdAt } of items) {
    say([kid, purpose.padEnd(7), state.padEnd(9), createdAt.toISOString()].join('  '));
  }
  say(`Next rotation: ${nextRotationAt?.toISOString() ?? 'manual'}`);
}

async function reencrypt(context: INestApplicationContext): Promise<void> {
  const signingKeys = await context.get(SigningKeyService).reencrypt();
  const personalKeys = await context.get(AuditService).reencrypt();
  const secondFactors = await context.get(SecondFactorService).reencrypt();
  const handovers = await context.get(HandoverWipeService).reencrypt();
  const webhooks = await context.get(WebhookSecretsService).reencrypt();
  const idTokens = await context.get(IdTokenService).reencrypt();
  const dropped = await context.get(ImportedPasswordService).dropOutdatedKeyedHashes();
  say(
    `Re-encrypted: ${String(signingKeys)} signing keys, ${String(personalKeys)} keys of the audit trail, ` +
      `${String(secondFactors)} second factors, ${String(idTokens)} ID tokens of staff, ${String(handovers)} passwords awaiting hand-over, ` +
      `the secrets and URLs of ${String(webhooks)} webhooks.`,
  );
  say(
    `Dropped the keyed hashes of ${String(dropped)} imported passwords. The next sign-in with each password ` +
      'verifies its slow hash and creates a new keyed hash.',
  );
}

export function completeKeys(keys: Command, cli: CliContext): void {
  keys
    .command('list')
    .description('list all signing keys, past ones included, newest first')
    .action(() => cli.withServices((context) => sayKeys(context.get(SigningKeyService))));

  keys
    .command('rotate')
    .description('sign with the standby key from now on; existing tokens stay valid')
    .addOption(new Option('--purpose <purpose>').choices(['partner', 'staff']).default('partner'))
    .option('--emergency', 'rotate even if verifiers may not have fetched the standby key yet', false)
    .option(...REASON)
    .action((options: { purpose: SigningKeyPurpose; emergency: boolean; reason?: string }) =>
      cli.withServices(async (context) => {
        const { purpose, emergency } = options;
        await context.get(KeyRotationService).rotate(purpose, options.reason, CLI, { emergency });
        await sayKeys(context.get(SigningKeyService));
      }),
    );

  keys
    .command('revoke')
    .description('revoke a compromised key; every token it signed is refused')
    .argument('<kid>')
    .option(...REASON)
    .action((kid: string, options: { reason?: string }) =>
      cli.withServices(async (context) => {
        await context.get(KeyRotationService).revoke(kid, options.reason, CLI);
        await sayKeys(context.get(SigningKeyService));
      }),
    );

  keys
    .command('re-encrypt')
    .description('re-encrypt all secrets in the database with the first key of KEY_ENCRYPTION_KEY')
    .action(() => cli.withServices(reencrypt));
}

export function completeAfterRestore(afterRestore: Command, cli: CliContext): void {
  afterRestore.option(...REASON).action((options: { reason?: string }) =>
    cli.withServices(async (context) => {
      const count = await context.get(KeyRotationService).revokeAll(options.reason ?? 'after a restore', CLI);
      say(`${String(count)} signing keys revoked. Partners must obtain new tokens, and staff must sign in again.`);
      const links = await context.get(StaffService).revokePasswordLinks(CLI);
      if (links > 0) say(`${String(links)} links for choosing a staff password revoked. Send new ones.`);
    }),
  );
}
