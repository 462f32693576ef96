import type { Page } from 'playwright-core';
import { chromiumPath, inspect } from '../support/browser.ts';
import { ConsoleStage } from '../support/console.ts';
import { secret } from '../support/secrets.ts';

/** A leaked password and what was created with it, as staff see and end them. */
const executable = chromiumPath();
if (executable === undefined) process.stderr.write('console-story-leak: skipped, there is no Chromium\n');
const story = executable === undefined ? describe.skip : describe;

interface Family {
  readonly id: string;
  readonly username: string;
  readonly password: string;
  /** The password of the credential that was created with the first one. */
  readonly created: string;
}

story('a leaked password in the console', () => {
  let stage: ConsoleStage;
  let token: string;
  const findings: string[] = [];

  beforeAll(async () => {
    stage = await ConsoleStage.start(executable ?? '');
    token = await stage.tokenOf(stage.admin);
  });
  afterEach(() => stage.leaveOpenPages());
  afterAll(() => stage.close());

  const look = async (page: Page, name: string): Promise<void> => {
    findings.push(...(await inspect(page, name)));
  };
  /** A partner that created a second password with its first one, and uses it. */
  const provision = async (displayName: string): Promise<Family> => {
    const username = displayName.toLowerCase().replaceAll(' ', '-');
    const answer = await stage.asStaff(token, 'POST', '/admin/channel-users', { username, displayName });
    const body = (await answer.json()) as { channelUser: { id: string }; credential: { password: string } };
    const password = secret(body.credential.password);
    const { text: bearer } = await stage.generateToken(username, password);
    const rotated = await fetch(`${stage.url}/me/credentials`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${bearer}` },
      body: JSON.stringify({ password, label: 'second' }),
    });
    const { credential } = (await rotated.json()) as { credential: { password: string } };
    const created = secret(credential.password);
    expect((await stage.generateToken(username, created)).status).toBe(200);
    return { id: body.channelUser.id, username, password, created };
  };
  const statusesOf = async ({ username, password, created }: Family): Promise<number[]> => [
    (await stage.generateToken(username, password)).status,
    (await stage.generateToken(username, created)).status,
  ];

  it('ends what was created with it when staff revoke it, unless they say otherwise', async () => {
    const [blue, green] = [await provision('Blue Channel'), await provision('Green Channel')];
    const { context, page } = await stage.somebody();
    await stage.signIn(page, stage.admin);
    await page.getByRole('menuitem', { name: 'Overview' }).waitFor();
    const dialog = page.getByRole('dialog');
    const choice = dialog.getByRole('checkbox', { name: 'End it too' });
    const warning = dialog.getByText(/No other password works/);

    await page.goto(`${stage.url}/console/channel-users/${blue.id}/show?tab=credentials`);
    await page.getByRole('button', { name: 'Revoke initial' }).click();
    const created = dialog.getByRole('list', { name: 'Created with this password' }).getByRole('listitem');
    await created.filter({ hasText: /second · fingerprint [0-9a-f]{8} · Works · last used/ }).waitFor();
    await warning.waitFor();
    expect(await choice.isChecked()).toBe(true);
    await look(page, 'leak-revoke');
    await dialog.getByRole('button', { name: 'Revoke' }).click();
    await page.getByText('No password works, so the partner cannot sign in.').waitFor();
    expect(await statusesOf(blue)).toEqual([401, 401]);

    await page.goto(`${stage.url}/console/channel-users/${green.id}/show?tab=credentials`);
    await page.getByRole('button', { name: 'Revoke initial' }).click();
    await choice.uncheck();
    await warning.waitFor({ state: 'detached' });
    await dialog.getByRole('button', { name: 'Revoke' }).click();
    await dialog.waitFor({ state: 'detached' });
    expect(await statusesOf(green)).toEqual([401, 200]);
    await context.close();
  });

  it('is told to staff when somebody reports it', async () => {
    const red = await provision('Red Channel');
    const { username, password } = red;
    const answer = await fetch(`${stage.url}/credentials/report-leaked`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ username, password }),
    });
    expect([answer.status, await answer.text()]).toEqual([202, '']);
    expect(await statusesOf(red)).toEqual([401, 401]);
    const { context, page } = await stage.somebody();
    await stage.signIn(page, stage.admin);
    await page.getByRole('menuitem', { name: 'Notices' }).click();
    await page.getByText('A password was reported as leaked').waitFor();
    await page
      .getByText('1 password created with it ended too. No password of this partner works any more: create a new one.')
      .waitFor();
    await look(page, 'leak-notice');
    await page.goto(`${stage.url}/console/channel-users/${red.id}/show?tab=credentials`);
    await page.getByRole('switch', { name: /Show expired and revoked ones/ }).check();
    await page.getByText(/reported as leaked/).waitFor();
    await look(page, 'leak-passwords');
    await page.getByRole('tab', { name: 'History' }).click();
    await page.getByText('Password reported as leaked').waitFor();
    await look(page, 'leak-history');
    await context.close();
  });

  it('is accessible in both themes, on a desktop and on a phone, and without errors of the browser', () => {
    expect({ findings, complaints: stage.complaints }).toEqual({ findings: [], complaints: [] });
  });
});
