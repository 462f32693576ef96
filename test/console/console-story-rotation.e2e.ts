import type { Locator, Page } from 'playwright-core';
import { chromiumPath, inspect } from '../support/browser.ts';
import { ConsoleStage } from '../support/console.ts';
import { secret } from '../support/secrets.ts';

/** A rotation that waits for the first use of the new password, as staff see it. */
const executable = chromiumPath();
if (executable === undefined) process.stderr.write('console-story-rotation: skipped, there is no Chromium\n');
const story = executable === undefined ? describe.skip : describe;

interface Made {
  id: string;
  username: string;
  password: string;
}

story('a rotation in the console', () => {
  const operator = { email: 'omar@latchkey.example', password: '' };
  let stage: ConsoleStage;
  let token: string;
  const findings: string[] = [];

  beforeAll(async () => {
    stage = await ConsoleStage.start(executable ?? '');
    token = await stage.tokenOf(stage.admin);
    const fields = { email: operator.email, name: 'Omar Operator', role: 'operator' };
    const created = await stage.asStaff(token, 'POST', '/admin/staff', fields);
    operator.password = secret(((await created.json()) as { password: string }).password);
  });
  afterEach(() => stage.leaveOpenPages());
  afterAll(() => stage.close());

  const look = async (page: Page, name: string): Promise<void> => {
    findings.push(...(await inspect(page, name)));
  };
  const provision = async (displayName: string): Promise<Made> => {
    const username = displayName.toLowerCase().replaceAll(' ', '-');
    const answer = await stage.asStaff(token, 'POST', '/admin/channel-users', { username, displayName });
    const body = (await answer.json()) as { channelUser: { id: string }; credential: { password: string } };
    return { id: body.channelUser.id, username, password: secret(body.credential.password) };
  };
  const rotate = async ({ id }: Made, json: object): Promise<string> => {
    const answer = await stage.asStaff(token, 'POST', `/admin/channel-users/${id}/credentials`, json);
    expect(answer.status).toBe(201);
    return secret(((await answer.json()) as { credential: { password: string } }).credential.password);
  };
  const open = async (link: string): Promise<{ status: number; password: string }> => {
    const answer = await fetch(`${stage.url}/handover/reveal`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ secret: secret(link.split('#')[1] ?? '') }),
    });
    const { password = '' } = (await answer.json()) as { password?: string };
    return { status: answer.status, password: password === '' ? '' : secret(password) };
  };
  const passwordsOf = async (page: Page, { id }: Made): Promise<Locator> => {
    await page.goto(`${stage.url}/console/channel-users/${id}/show?tab=credentials`);
    return page.getByLabel('Rotation');
  };
  const signIn = async ({ username }: Made, password: string): Promise<number> =>
    (await stage.generateToken(username, password)).status;

  it('says at each moment where it stands, and sends a new link or withdraws', async () => {
    const blue = await provision('Blue Channel');
    expect(await signIn(blue, blue.password)).toBe(200);
    const { context, page } = await stage.somebody();
    await stage.signIn(page, operator);
    await page.getByRole('menuitem', { name: 'Overview' }).waitFor();
    const state = await passwordsOf(page, blue);

    await page.getByRole('button', { name: 'New password' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText(/last used/i).waitFor();
    await look(page, 'rotation-dialog');
    expect(await dialog.getByRole('alert').count()).toBe(0);
    await dialog.getByRole('button', { name: 'Create link' }).click();
    const first = await page.getByLabel('One-time link', { exact: true }).inputValue();
    await page.getByRole('button', { name: 'I have copied the link' }).click();
    await state.getByText('New password: not opened yet.').waitFor();
    await state.getByText(/The old one was last used .+ from 127\.0\.0\.1 and keeps working\./).waitFor();
    await state.getByText(/The old one ends 1 day after the first use of the new one\./).waitFor();
    await state.getByText(/If nobody opens the link by .+, the new one is withdrawn\./).waitFor();
    await state.getByText(/by Omar Operator/).waitFor();
    await look(page, 'rotation-unopened');

    expect((await open(first)).status).toBe(200);
    await page.reload();
    await state.getByText(/New password: opened .+, not used yet\./).waitFor();
    await state.getByText(/If nobody uses the new one by .+, it is withdrawn\./).waitFor();
    await look(page, 'rotation-opened');

    // The password behind an opened link is gone, so a new link has another one.
    await state.getByRole('button', { name: 'Send a new link' }).click();
    await look(page, 'rotation-new-link');
    await dialog.getByRole('button', { name: 'Create link' }).click();
    const second = await page.getByLabel('One-time link', { exact: true }).inputValue();
    expect(second).not.toBe(first);
    await page.getByRole('button', { name: 'I have copied the link' }).click();
    await state.getByText('New password: not opened yet.').waitFor();

    await state.getByRole('button', { name: 'Withdraw' }).click();
    await look(page, 'rotation-withdraw');
    await dialog.getByRole('button', { name: 'Withdraw' }).click();
    await state.waitFor({ state: 'detached' });
    expect((await open(second)).status).toBe(410);
    expect(await signIn(blue, blue.password)).toBe(200);

    await page.getByRole('tab', { name: 'History' }).click();
    await page.getByText('Omar Operator withdrew a new password').first().waitFor();
    await page.getByText('1 day after the first use').first().waitFor();
    await look(page, 'rotation-history');
    await context.close();
  });

  it('says when the new password was used, and ends the old one on request', async () => {
    const green = await provision('Green Channel');
    const next = await rotate(green, { retireOthers: { seconds: 3600 } });
    const { context, page } = await stage.somebody();
    await stage.signIn(page, operator);
    await page.getByRole('menuitem', { name: 'Overview' }).waitFor();
    const state = await passwordsOf(page, green);
    await state.getByText('New password: shown to staff, not used yet.').waitFor();
    await state.getByText('The old one was never used and keeps working.').waitFor();
    expect(await signIn(green, next)).toBe(200);
    await page.reload();
    await state.getByText(/New password: first used .+\./).waitFor();
    await state.getByText(/The old one was never used and ends in .+\./).waitFor();
    await look(page, 'rotation-used');
    expect(await state.getByRole('button', { name: 'Withdraw' }).count()).toBe(0);

    await state.getByRole('button', { name: 'End the old one now' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('This password seems to be unused.').waitFor();
    await dialog.getByRole('button', { name: 'Revoke' }).click();
    await state.waitFor({ state: 'detached' });
    expect([await signIn(green, green.password), await signIn(green, next)]).toEqual([401, 200]);
    await context.close();
  });

  it('warns when the partner may be left without a password that it uses', async () => {
    const red = await provision('Red Channel');
    const expiresAt = new Date(Date.now() + 86_400_000).toISOString();
    await rotate(red, { expiresAt, retireOthersInSeconds: 0 });
    const { context, page } = await stage.somebody();
    await stage.signIn(page, operator);
    await page.getByRole('menuitem', { name: 'Overview' }).waitFor();
    const state = await passwordsOf(page, red);
    await page.getByRole('button', { name: 'New password' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText(/expires by itself before the link does/).waitFor();
    await dialog.getByRole('radio', { name: /Counted from now/ }).check();
    await dialog.getByText(/the link works for 3 days: a partner that opens it late gets no tokens/).waitFor();
    await look(page, 'rotation-dialog-now');
    await dialog.getByRole('radio', { name: /After the first use/ }).check();
    await dialog.getByRole('radio', { name: /Show it to me now/ }).check();
    await dialog.getByRole('button', { name: 'Create password' }).click();
    const next = secret(await page.getByLabel('Password', { exact: true }).inputValue());
    await page.getByRole('button', { name: 'I have saved it' }).click();
    await state.getByText(/The old one was never used and works until .+\./).waitFor();
    expect(await page.getByText('Works, but replaced by a newer one').count()).toBe(0);
    await state.getByText(/The old one expires by itself .+, even if nobody has used the new one by then\./).waitFor();
    await look(page, 'rotation-warning');

    // Another one takes the place of the pending one.
    await page.getByRole('button', { name: 'New password' }).click();
    await dialog.getByText(/is still waiting for its first use/).waitFor();
    await dialog.getByRole('radio', { name: /Show it to me now/ }).check();
    await dialog.getByRole('button', { name: 'Create password' }).click();
    const last = secret(await page.getByLabel('Password', { exact: true }).inputValue());
    await page.getByRole('button', { name: 'I have saved it' }).click();
    expect(await signIn(red, next)).toBe(401);

    await state.getByRole('button', { name: 'End the old one now' }).click();
    await dialog.getByText(/The new password has not been used yet/).waitFor();
    await dialog.getByRole('button', { name: 'Revoke' }).click();
    await state.getByText(/No other password works/).waitFor();
    await look(page, 'rotation-alone');
    expect(await signIn(red, last)).toBe(200);
    await context.close();
  });

  it('says that the partner itself began it, and can be left to staff alone', async () => {
    const grey = await provision('Grey Channel');
    const token = (await stage.generateToken(grey.username, grey.password)).text;
    const rotateAlone = (): Promise<Response> =>
      fetch(`${stage.url}/me/credentials`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ password: grey.password }),
      });
    const made = (await (await rotateAlone()).json()) as { credential: { password: string } };
    secret(made.credential.password);
    const { context, page } = await stage.somebody();
    await stage.signIn(page, operator);
    await page.getByRole('menuitem', { name: 'Overview' }).waitFor();
    const state = await passwordsOf(page, grey);
    await state.getByText('New password: shown to the partner, not used yet.').waitFor();
    await state.getByText(/by the partner itself/).waitFor();
    await look(page, 'rotation-own');
    await state.getByRole('button', { name: 'Withdraw' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Withdraw' }).click();
    await state.waitFor({ state: 'detached' });

    await page.getByRole('tab', { name: 'Account' }).click();
    await page.getByText('creates its passwords itself, or staff do').waitFor();
    await page.getByRole('button', { name: 'Edit' }).click();
    await page.getByLabel('Self-service').uncheck();
    await look(page, 'self-service');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('only staff create its passwords').waitFor();
    expect((await rotateAlone()).status).toBe(403);
    await page.getByRole('tab', { name: 'History' }).click();
    await page.getByText(`${grey.username} created a password`).first().waitFor();
    await page.getByRole('menuitem', { name: 'Notices' }).click();
    await page
      .getByText(/Password \w{8}, created by the partner itself/)
      .first()
      .waitFor();
    await look(page, 'rotation-own-notice');
    await context.close();
  });

  it('is accessible in both themes, on a desktop and on a phone, and without errors of the browser', () => {
    expect({ findings, complaints: stage.complaints }).toEqual({ findings: [], complaints: [] });
  });
});
