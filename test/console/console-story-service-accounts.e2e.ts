import { chromiumPath, inspect } from '../support/browser.ts';
import { ConsoleStage } from '../support/console.ts';
import { secret } from '../support/secrets.ts';

/** How an admin manages the identities of scripts, in a real browser; see `console-story.e2e.ts`. */
const executable = chromiumPath();
const story = executable === undefined ? describe.skip : describe;

let stage: ConsoleStage;

story('service accounts', () => {
  beforeAll(async () => {
    stage = await ConsoleStage.start(executable ?? '');
  });
  afterEach(() => stage.leaveOpenPages());
  afterAll(() => stage.close());

  const statusOf = async (key: string): Promise<number> =>
    (await fetch(`${stage.url}/admin/channel-users`, { headers: { authorization: `Bearer ${key}` } })).status;

  it('are created with a key that is shown once, rotated, suspended, revoked and deleted', async () => {
    const { context, page } = await stage.somebody();
    await stage.signIn(page, stage.admin);
    await page.getByRole('menuitem', { name: 'Service accounts' }).click();
    await page.getByText('There are no service accounts yet.').waitFor();
    expect(await inspect(page, 'service-accounts-none')).toEqual([]);

    // A wrong address is refused before anything is sent.
    await page.getByRole('button', { name: 'Add service account' }).click();
    const form = page.getByRole('dialog', { name: 'Add a service account' });
    await form.getByLabel('Name').fill('provisioning');
    await form.getByLabel('Allowed addresses').fill('127.0.0.0/8, here');
    await form.getByRole('button', { name: 'Create' }).click();
    await form.getByText(/“here” is not an IP address/).waitFor();
    expect(await inspect(page, 'service-account-form')).toEqual([]);
    await form.getByLabel('Allowed addresses').fill('127.0.0.0/8\n::1');
    await form.getByLabel('Expires').fill('2040-01-31T12:00');
    await form.getByRole('button', { name: 'Create' }).click();

    const shown = page.getByRole('dialog', { name: 'The key of provisioning' });
    const first = secret(await shown.getByLabel('Key', { exact: true }).inputValue());
    expect(first).toMatch(/^lk_sa_[0-9a-f]{32}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$/);
    expect(await shown.getByLabel('Key', { exact: true }).getAttribute('type')).toBe('password');
    await shown.getByRole('button', { name: 'Copy key' }).click();
    expect(await page.evaluate('navigator.clipboard.readText()')).toBe(first);
    expect(await inspect(page, 'service-account-key')).toEqual([]);
    await page.keyboard.press('Escape');
    await shown.getByRole('button', { name: 'I have saved the key' }).click();
    await shown.waitFor({ state: 'detached' });
    expect(await page.content()).not.toContain(first);
    expect(await statusOf(first)).toBe(200);

    // The old key goes on until the new one is used.
    const card = page.getByRole('listitem', { name: 'provisioning' });
    await page.getByRole('button', { name: 'Refresh' }).click();
    await card.getByText(/Last used .* from (127\.0\.0\.1|::1)/).waitFor();
    await card.getByRole('button', { name: 'New key' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Create a new key' }).click();
    const second = secret(await shown.getByLabel('Key', { exact: true }).inputValue());
    await shown.getByRole('button', { name: 'I have saved the key' }).click();
    await card.getByText('Waits for its first use').waitFor();
    expect(await inspect(page, 'service-accounts')).toEqual([]);
    expect(await statusOf(first)).toBe(200);
    expect(await statusOf(second)).toBe(200);
    await page.getByRole('button', { name: 'Refresh' }).click();
    await card.getByText('Waits for its first use').waitFor({ state: 'detached' });
    await card.getByText(/ends tomorrow|ends in 1 day/).waitFor();
    await card.getByRole('button', { name: `Revoke lk_sa_${first.slice(6, 14)}…` }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('button', { name: 'Revoke key' }).click();
    // The page behind a dialog has no roles.
    await dialog.waitFor({ state: 'detached' });
    await card.getByText(`lk_sa_${first.slice(6, 14)}…`).waitFor({ state: 'detached' });
    expect(await statusOf(first)).toBe(401);

    await card.getByRole('button', { name: 'Suspend' }).click();
    await dialog.getByLabel('Reason').fill('odd calls at night');
    await dialog.getByRole('button', { name: 'Suspend' }).click();
    await card.getByText('Suspended').waitFor();
    expect(await statusOf(second)).toBe(403);
    await card.getByRole('button', { name: 'Reactivate' }).click();
    await dialog.getByRole('button', { name: 'Reactivate' }).click();
    await card.getByText('Active').waitFor();
    expect(await statusOf(second)).toBe(200);

    await card.getByRole('button', { name: 'Edit' }).click();
    await dialog.getByLabel('Name').fill('provisioning of partners');
    await dialog.getByRole('button', { name: 'Save' }).click();
    const renamed = page.getByRole('listitem', { name: 'provisioning of partners' });
    await renamed.getByText(/expires 31 Jan 2040/).waitFor();

    await renamed.getByRole('button', { name: 'Revoke', exact: true }).click();
    await dialog.getByLabel('Reason').fill('the script is gone');
    await dialog.getByRole('button', { name: 'Revoke' }).click();
    await renamed.getByText('Revoked', { exact: true }).waitFor();
    expect(await renamed.getByRole('button').allTextContents()).toEqual(['Delete']);
    expect(await statusOf(second)).toBe(401);
    await renamed.getByRole('button', { name: 'Delete' }).click();
    await dialog.getByRole('button', { name: 'Delete' }).click();
    await page.getByText('There are no service accounts yet.').waitFor();
    await context.close();
    expect(stage.complaints.filter((complaint) => !/\b(401|403)\b/.test(complaint))).toEqual([]);
  });

  it('are named in the trail, which filters by them', async () => {
    const { context, page } = await stage.somebody();
    await stage.signIn(page, stage.admin);
    const headers = { origin: stage.url };
    const made = await page.request.post(`${stage.url}/admin/service-accounts`, {
      headers,
      data: { name: 'night script', role: 'operator' },
    });
    const { key } = (await made.json()) as { key: string };
    const created = await fetch(`${stage.url}/admin/channel-users`, {
      method: 'POST',
      headers: { authorization: `Bearer ${secret(key)}`, 'content-type': 'application/json' },
      body: JSON.stringify({ username: 'by-script', displayName: 'By Script', deliver: 'link' }),
    });
    secret(((await created.json()) as { handoverUrl: string }).handoverUrl);

    await page.getByRole('menuitem', { name: 'Audit' }).click();
    await page.getByLabel('Actor').click();
    await page.getByRole('option', { name: 'night script (service account)' }).click();
    await page.getByRole('cell', { name: 'Service account added' }).first().waitFor({ state: 'detached' });
    await page.getByRole('cell', { name: 'Partner added' }).click();
    await page.getByText('(service-account)').waitFor();
    expect(await inspect(page, 'audit-service-account')).toEqual([]);
    await page.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
    await page.goto(`${stage.url}/console/service-accounts`);
    await page.getByRole('listitem', { name: 'night script' }).waitFor();
    await context.close();
    expect(stage.complaints.filter((complaint) => !/\b(401|403)\b/.test(complaint))).toEqual([]);
  });
});
