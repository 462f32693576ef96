import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import type { BrowserContext, Locator, Page } from 'playwright-core';
import { LatchkeyClient } from '../../clients/typescript/src/client.ts';
import { chromiumPath, inspect } from '../support/browser.ts';
import { ConsoleStage } from '../support/console.ts';
import { secret } from '../support/secrets.ts';
import { until } from '../support/sign-ins.ts';

/** A rotation as both sides see it: the partner on its own page, staff in the console. */
const executable = chromiumPath();
if (executable === undefined) process.stderr.write('partner-page-story: skipped, there is no Chromium\n');
const story = executable === undefined ? describe.skip : describe;

/** Runs commands as a person does who pastes them into a shell, then types a password. @returns what they print */
async function runInShell(commands: string, typed: string): Promise<string> {
  const shell = spawn('bash', ['-c', commands], { stdio: ['pipe', 'pipe', 'inherit'] });
  shell.stdin.end(`${typed}\n`);
  const [printed, [code]] = await Promise.all([text(shell.stdout), once(shell, 'exit') as Promise<[number | null]>]);
  expect({ code, printed: code === 0 ? '' : printed }).toEqual({ code: 0, printed: '' });
  return printed;
}

story('a rotation that staff and partner watch', () => {
  const partner = { id: '', username: 'story-channel', displayName: 'Story Channel', password: '' };
  const findings: string[] = [];
  let stage: ConsoleStage;
  let own: Page;
  let theirs: Page;
  const contexts: BrowserContext[] = [];

  beforeAll(async () => {
    stage = await ConsoleStage.start(executable ?? '');
    const token = await stage.tokenOf(stage.admin);
    const { username, displayName } = partner;
    const answer = await stage.asStaff(token, 'POST', '/admin/channel-users', { username, displayName });
    const made = (await answer.json()) as { channelUser: { id: string }; credential: { password: string } };
    partner.id = made.channelUser.id;
    partner.password = secret(made.credential.password);
    expect(await usePassword(partner.password)).toBe(200);
    const [colleague, contact] = [await stage.somebody(), await stage.somebody()];
    theirs = colleague.page;
    own = contact.page;
    contexts.push(colleague.context, contact.context);
    await stage.signIn(theirs, stage.admin);
    await theirs.getByRole('menuitem', { name: 'Overview' }).waitFor();
  });
  afterAll(async () => {
    await stage.leaveOpenPages();
    await stage.close();
  });

  const look = async (name: string): Promise<void> => {
    findings.push(...(await inspect(own, `partner-story-${name}`)));
  };
  /** Gets a token, as the partner's software does. */
  const usePassword = async (password: string): Promise<number> =>
    (await stage.generateToken(partner.username, password)).status;
  const signIn = async (password: string): Promise<void> => {
    await own.goto(`${stage.url}/partner`);
    await own.getByLabel('Username').fill(partner.username);
    await own.getByLabel('Password').fill(password);
    await own.getByRole('button', { name: 'Sign in' }).click();
    await own.getByRole('heading', { name: partner.displayName }).waitFor();
  };
  const openConsole = (): Promise<unknown> =>
    theirs.goto(`${stage.url}/console/channel-users/${partner.id}/show?tab=credentials`);
  /** Reads the state anew on both sides. */
  const states = async (): Promise<Locator[]> => {
    await own.getByRole('tab', { name: 'Passwords' }).click();
    await openConsole();
    return [own.getByLabel('Rotation'), theirs.getByLabel('Rotation')];
  };
  const expectOnBoth = async (...lines: RegExp[]): Promise<void> => {
    for (const state of await states()) for (const line of lines) await state.getByText(line).waitFor();
  };

  it('lets a partner look at its new password without using it', async () => {
    await openConsole();
    await theirs.getByRole('button', { name: 'New password' }).click();
    await theirs.getByRole('dialog').getByRole('button', { name: 'Create link' }).click();
    const link = secret(await theirs.getByLabel('One-time link', { exact: true }).inputValue());
    await theirs.getByRole('button', { name: 'I have copied the link' }).click();
    await signIn(partner.password);
    await expectOnBoth(/New password: not opened yet\./, /If nobody opens the link by/);

    const { context, page: opened } = await stage.somebody();
    await opened.goto(link);
    await opened.getByRole('button', { name: 'Reveal' }).click();
    await opened.locator('#password').waitFor();
    const next = secret((await opened.locator('#password').textContent()) ?? '');
    await opened.getByRole('button', { name: 'Copy password' }).click();
    await context.close();

    await signIn(next);
    await expectOnBoth(
      /New password: opened .+, not used yet\./,
      /The old one was last used .+ from 127\.0\.0\.1 and keeps working\./,
      /The old one ends 1 day after the first use of the new one\./,
    );
    await own.getByText('It is not yet used by your software').waitFor();
    await look('pending');
    expect(await usePassword(partner.password)).toBe(200);
    await expectOnBoth(/not used yet\./);

    expect(await usePassword(next)).toBe(200);
    await expectOnBoth(/New password: first used .+\./, /The old one was last used .+ and ends tomorrow\./);
    await look('used');
    partner.password = next;
  });

  it('rotates with the commands of the page', async () => {
    await own.getByText('Rotate from a shell').click();
    const commands = (await own.locator('pre code').textContent()) ?? '';
    expect(commands).not.toContain(partner.password);
    await look('shell');
    const printed = await runInShell(commands, partner.password);
    const { credential } = JSON.parse(printed) as { credential: { password: string; fingerprint: string } };
    const next = secret(credential.password);
    await expectOnBoth(/New password: shown to the partner, not used yet\./, /by the partner itself\./);
    expect(await usePassword(next)).toBe(200);
    await expectOnBoth(/New password: first used .+\./);
    await own.getByText(credential.fingerprint).waitFor();
    partner.password = next;
  });

  it('rotates with the TypeScript client, which stores the new password before it uses it', async () => {
    const stored: string[] = [];
    const client = new LatchkeyClient({
      baseUrl: stage.url,
      credentials: { username: partner.username, password: partner.password },
    });
    await client.rotate({
      storePassword: async (password) => {
        stored.push(secret(password));
        await expectOnBoth(/New password: shown to the partner, not used yet\./);
      },
    });
    expect(stored).toHaveLength(1);
    await expectOnBoth(/New password: first used .+\./);
    secret(await client.token());
    expect(await usePassword(partner.password)).toBe(200);
    partner.password = stored[0] ?? '';
  });

  it('rotates, withdraws and ends passwords on the page', async () => {
    await signIn(partner.password);
    const state = own.getByLabel('Rotation');
    const rotate = async (password: string): Promise<string> => {
      await own.getByRole('button', { name: 'New password' }).click();
      const dialog = own.getByRole('dialog');
      await dialog.getByLabel('A password that your software uses now').fill(password);
      await dialog.getByLabel(/^Name of the new password/).fill('from the page');
      await dialog.getByRole('button', { name: 'Create password' }).click();
      const shown = own.getByRole('dialog', { name: 'Your new password' });
      await shown.waitFor();
      return secret((await shown.locator('code.secret').textContent()) ?? '');
    };
    // Those of the earlier rotations have the same label.
    const end = state.getByRole('button', { name: /^End “.+”( \([0-9a-f]{8}\))? now$/ });
    await until(async () => (await end.count()) === 3, 'three passwords can be ended');

    await own.getByRole('button', { name: 'New password' }).click();
    const dialog = own.getByRole('dialog');
    await dialog.getByLabel('A password that your software uses now').fill('wrong');
    await dialog.getByRole('button', { name: 'Create password' }).click();
    await dialog.getByRole('alert').getByText('The password is not an active password of this account.').waitFor();
    await look('wrong-password');
    await dialog.getByRole('button', { name: 'Cancel' }).click();

    const withdrawn = await rotate(partner.password);
    await look('new-password');
    await own.getByRole('button', { name: 'Copy password' }).click();
    expect(await own.evaluate(() => navigator.clipboard.readText())).toBe(withdrawn);
    await own.getByRole('button', { name: 'I have saved it' }).click();
    await expectOnBoth(/New password: shown to the partner, not used yet\./);
    await state.getByRole('button', { name: 'Withdraw' }).click();
    await dialog.getByLabel('A password of this account that works').fill(partner.password);
    await look('withdraw');
    await dialog.getByRole('button', { name: 'Withdraw' }).click();
    await dialog.waitFor({ state: 'detached' });
    await own.getByText('not used yet').first().waitFor({ state: 'detached' });
    expect([await usePassword(withdrawn), await usePassword(partner.password)]).toEqual([401, 200]);

    const next = await rotate(partner.password);
    await own.getByRole('button', { name: 'I have saved it' }).click();
    expect(await usePassword(next)).toBe(200);
    await expectOnBoth(/New password: first used .+\./);
    await look('after');
  });

  it('is accessible in both themes, on a desktop and on a phone, and without errors of the browser', async () => {
    for (const context of contexts) await context.close();
    expect({ findings, complaints: stage.complaints }).toEqual({ findings: [], complaints: [] });
  });
});
