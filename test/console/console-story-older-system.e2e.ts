import * as bcrypt from '@node-rs/bcrypt';
import { readFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import { chromiumPath, inspect } from '../support/browser.ts';
import { ConsoleStage } from '../support/console.ts';
import { Receiver, verified } from '../support/receiver.ts';
import { secret } from '../support/secrets.ts';

/**
 * The partners of an older system come over, may see what they saw there, and another system is told what becomes of
 * them; in a real browser, see `console-story.e2e.ts`.
 */
const executable = chromiumPath();
const story = executable === undefined ? describe.skip : describe;

const OLD_PASSWORD = 'as it was before';

let stage: ConsoleStage;
let url: string;
let receiver: Receiver;
const findings: string[] = [];

const look = async (page: Page, name: string): Promise<void> => {
  findings.push(...(await inspect(page, name)));
};

const csv = (...lines: string[]) => ({
  name: 'partners.csv',
  mimeType: 'text/csv',
  buffer: Buffer.from(['username,displayName,contactEmail,passwordHash', ...lines].map((line) => `${line}\n`).join('')),
});

story('the console, when partners come over from an older system', () => {
  const viewer = { email: 'vera@latchkey.example', password: '' };
  let harbourId = '';

  beforeAll(async () => {
    receiver = await Receiver.start();
    stage = await ConsoleStage.start(executable ?? '', { WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8' });
    url = stage.url;
    const admin = await stage.tokenOf(stage.admin);
    const created = await stage.asStaff(admin, 'POST', '/admin/staff', {
      email: viewer.email,
      name: 'Vera Viewer',
      role: 'viewer',
    });
    viewer.password = secret(((await created.json()) as { password: string }).password);
  });
  afterEach(() => stage.leaveOpenPages());
  afterAll(async () => {
    await stage.close();
    await receiver.close();
  });

  it('checks a file, reports its errors, imports it and shows the new passwords once', async () => {
    const hash = await bcrypt.hash(OLD_PASSWORD, 5);
    const { context, page } = await stage.somebody();
    await stage.signIn(page, stage.admin);
    await page.getByRole('menuitem', { name: 'Partners' }).click();
    await page.getByRole('link', { name: 'Import' }).click();
    await page.getByText('No file yet').waitFor();
    await look(page, 'import-empty');

    const file = page.locator('input[type=file]');
    await file.setInputFiles(
      csv(
        `harbour,Harbour Hotels,it@harbour.example,${hash}`,
        'two words,Two Words,,',
        'quay,Quay Lets,not an address,',
      ),
    );
    await page.getByRole('button', { name: 'Check the file' }).click();
    const wrong = page.getByRole('table', { name: 'What is wrong with the file' });
    await wrong.waitFor();
    expect(await wrong.getByRole('row').count()).toBe(3);
    await wrong.getByRole('row', { name: /^3 username/ }).waitFor();
    await wrong.getByRole('row', { name: /^4 contactEmail/ }).waitFor();
    expect(await page.getByRole('button', { name: /^Import/ }).isDisabled()).toBe(true);
    await look(page, 'import-refused');

    await file.setInputFiles(csv(`harbour,Harbour Hotels,it@harbour.example,${hash}`, 'quay,Quay Lets,,'));
    await page.getByRole('button', { name: 'Check the file' }).click();
    await page.getByText('Checked: 2 partners can be imported').waitFor();
    await page.getByRole('radio', { name: 'Show it to me now' }).check();
    await page.getByRole('button', { name: 'Import 2 partners' }).click();
    await page.getByText('1 password was generated').waitFor();
    await look(page, 'import-passwords');
    const arrives = page.waitForEvent('download');
    await page.getByRole('link', { name: 'Download passwords' }).click();
    const [, line = ''] = (await readFile(await (await arrives).path(), 'utf8')).split('\r\n');
    const [, username, , , password = ''] = line.split(',');
    expect(username).toBe('quay');
    await page.getByRole('button', { name: 'I have saved them' }).click();
    await page.getByText('1 password was generated').waitFor({ state: 'detached' });
    await page.getByRole('row', { name: /Ada Admin Imported 2 2 0/ }).waitFor();

    const answers = [
      await stage.generateToken('quay', secret(password)),
      await stage.generateToken('harbour', OLD_PASSWORD),
    ];
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    await context.close();
  });

  it('grants properties to a partner and withdraws one', async () => {
    const { context, page } = await stage.somebody();
    await stage.signIn(page, stage.admin);
    await page.getByRole('menuitem', { name: 'Partners' }).click();
    await page.getByRole('row').filter({ hasText: 'Harbour Hotels' }).click();
    await page.getByRole('tab', { name: 'Grants' }).click();
    harbourId = /channel-users\/([0-9a-f-]{36})/.exec(page.url())?.[1] ?? '';
    await page.getByText('Nothing is granted').waitFor();
    await look(page, 'partner-grants-empty');

    await page.getByRole('button', { name: 'Grant resources' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Kind of resource').fill('Property!');
    await dialog.getByLabel('Ids').fill('sea-view\nold-mill');
    await dialog.getByLabel('Permissions').fill('write');
    await dialog.getByRole('button', { name: 'Grant', exact: true }).click();
    await dialog.getByText('Must be a name of at most 32').waitFor();
    await look(page, 'partner-grants-refused');
    // What was typed is still there.
    expect(await dialog.getByLabel('Ids').inputValue()).toBe('sea-view\nold-mill');
    await dialog.getByLabel('Kind of resource').fill('property');
    await dialog.getByRole('button', { name: 'Grant', exact: true }).click();
    await page.getByRole('heading', { name: 'property sea-view' }).waitFor();
    await page.getByRole('heading', { name: 'property old-mill' }).waitFor();
    await look(page, 'partner-grants');

    await page.getByRole('button', { name: 'Withdraw property old-mill' }).click();
    await page.getByRole('dialog').getByText('there is no such property').waitFor();
    await page.getByRole('dialog').getByRole('button', { name: 'Withdraw' }).click();
    await page.getByRole('heading', { name: 'property old-mill' }).waitFor({ state: 'detached' });
    const staff = await stage.tokenOf(stage.admin);
    const answer = await stage.asStaff(staff, 'GET', `/admin/channel-users/${harbourId}/grants`);
    const { items } = (await answer.json()) as { items: object[] };
    expect(items).toEqual([
      expect.objectContaining({ resourceType: 'property', resourceId: 'sea-view', permissions: ['write'] }),
    ]);
    await context.close();
  });

  it('notifies another system and shows the delivery', async () => {
    const { context, page } = await stage.somebody();
    await stage.signIn(page, stage.admin);
    await page.getByRole('menuitem', { name: 'Webhooks' }).click();
    await page.getByText('There are no webhooks yet').waitFor();
    await page.getByRole('button', { name: 'Add webhook' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('URL').fill('ftp://tickets.example/hook');
    await dialog.getByRole('button', { name: 'Add', exact: true }).click();
    await dialog.getByText('Must be an https URL').waitFor();
    await look(page, 'webhook-refused');
    await dialog.getByLabel('URL').fill(receiver.url);
    await dialog.getByLabel('Description').fill('Tickets');
    await dialog.getByRole('button', { name: 'Add', exact: true }).click();
    const shown = page.getByRole('dialog', { name: 'The secret of this webhook' });
    const signingSecret = secret(await shown.getByLabel('Secret', { exact: true }).inputValue());
    await look(page, 'webhook-secret');
    await shown.getByRole('button', { name: 'I have saved it' }).click();
    await page.getByRole('heading', { name: 'Tickets' }).waitFor();
    await look(page, 'webhooks');

    await page.getByRole('button', { name: 'Send a test' }).click();
    await page.getByText('A test notice is being sent').waitFor();
    const [test] = await receiver.received('webhook.test');
    if (test === undefined) throw new Error('No test came');
    expect(verified(signingSecret, test).type).toBe('webhook.test');

    await page.goto(`${url}/console/channel-users/${harbourId}/show`);
    await page.getByRole('button', { name: 'Suspend' }).click();
    await page.getByRole('dialog').getByLabel('Reason').fill('Invoice unpaid');
    await page.getByRole('dialog').getByRole('button', { name: 'Suspend' }).click();
    const [suspended] = await receiver.received('channel_user.suspended');
    expect(suspended?.data).toMatchObject({ channelUser: { id: harbourId, username: 'harbour' } });
    await page.getByRole('menuitem', { name: 'Notices' }).click();
    const notice = page.getByRole('listitem').filter({ has: page.getByRole('link', { name: 'Harbour Hotels' }) });
    await notice.getByText('Delivered').waitFor();
    await look(page, 'notices');
    await context.close();
  });

  it('shows a viewer everything without buttons for changes', async () => {
    const { context, page } = await stage.somebody();
    await stage.signIn(page, viewer);
    await page.getByRole('menuitem', { name: 'Webhooks' }).click();
    await page.getByRole('heading', { name: 'Tickets' }).waitFor();
    expect(await page.getByRole('main').getByRole('button').count()).toBe(0);
    await page.getByRole('menuitem', { name: 'Notices' }).click();
    await page.getByText('Delivered').first().waitFor();
    expect(await page.getByRole('button', { name: /again/ }).count()).toBe(0);
    await page.goto(`${url}/console/channel-users/${harbourId}/show?tab=grants`);
    await page.getByRole('heading', { name: 'property sea-view' }).waitFor();
    expect(await page.getByRole('button', { name: /Grant resources|Withdraw/ }).count()).toBe(0);
    await page.goto(`${url}/console/import`);
    await page.getByText('Operators and admins import partners').waitFor();
    await look(page, 'import-viewer');
    await context.close();
  });

  it('passes checks of keyboard, screen reader, themes and phone on these pages', () => {
    expect(findings).toEqual([]);
    expect(stage.complaints).toEqual([]);
  });
});
