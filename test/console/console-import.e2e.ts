import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import type { Page } from 'playwright-core';
import { chromiumPath, inspect } from '../support/browser.ts';
import { ConsoleStage } from '../support/console.ts';
import { secret } from '../support/secrets.ts';
import { eventually } from '../support/sign-ins.ts';

/** The console's import page in a real browser, on plain http by a name, where a browser has no secure context. */
const executable = chromiumPath();
const story = executable === undefined ? describe.skip : describe;

story('the import page', () => {
  let stage: ConsoleStage;
  let page: Page;
  const findings: string[] = [];

  beforeAll(async () => {
    stage = await ConsoleStage.start(executable ?? '');
    ({ page } = await stage.somebody());
    await stage.signIn(page, stage.admin, `http://latchkey.lan:${new URL(stage.url).port}`);
    await page.getByRole('menuitem', { name: 'Partners' }).click();
    await page.getByRole('link', { name: 'Import' }).click();
    await page.getByText('No file yet').waitFor();
  });
  afterAll(async () => {
    await stage.leaveOpenPages();
    await stage.close();
  });

  it('offers a template, accepts it back from a spreadsheet and creates a link for each partner', async () => {
    expect(await page.evaluate('window.isSecureContext')).toBe(false);
    const templateArrives = page.waitForEvent('download');
    await page.getByRole('link', { name: 'Download a template' }).click();
    const template = await readFile(await (await templateArrives).path(), 'utf8');
    expect(template).toMatch(/^\uFEFFusername,displayName,/);

    const [columns = ''] = template.split('\r\n');
    const row = ['quay', 'Quay Lets', ...columns.split(',').slice(2).fill('')].join(',');
    const saved = `${template.replace('example-partner', 'harbour')}${row}\r\n`.replaceAll(',', ';');
    await page
      .locator('input[type=file]')
      .setInputFiles({ name: 'partners.csv', mimeType: 'text/csv', buffer: Buffer.from(saved, 'utf16le') });
    await page.getByRole('button', { name: 'Check the file' }).click();
    await page.getByText('Checked: 2 partners can be imported').waitFor();
    await page.getByRole('button', { name: 'Import 2 partners' }).click();
    await page.getByText('2 one-time links were created').waitFor();
    findings.push(...(await inspect(page, 'import-links')));
    const arrives = page.waitForEvent('download');
    await page.getByRole('link', { name: 'Download links' }).click();
    const [header, , line = ''] = (await readFile(await (await arrives).path(), 'utf8')).split('\r\n');
    expect(header).toBe('row,username,id,fingerprint,handoverUrl,expiresAt');
    const [, username, , , link = ''] = line.split(',');
    const linkSecret = secret(link.split('#')[1] ?? '');
    const revealed = await fetch(`${stage.url}/handover/reveal`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ secret: linkSecret }),
    });
    const { password } = (await revealed.json()) as { password: string };
    expect([username, (await stage.generateToken('quay', secret(password))).status]).toEqual(['quay', 200]);
    await page.getByRole('button', { name: 'I have saved them' }).click();
  });

  it('warns about rows that can be imported', async () => {
    const hash = '$2b$10$abcdefghijklmnopqrstuuMk1yB4Vv4Jf2lJ0N8kYtN9Q0mQ1XQ0G';
    const file = `username,displayName,passwordHash\nold-hash,Old Hash,${hash}\n`;
    await page
      .locator('input[type=file]')
      .setInputFiles({ name: 'partners.csv', mimeType: 'text/csv', buffer: Buffer.from(file) });
    await page.getByRole('button', { name: 'Check the file' }).click();
    await page.getByText('Checked: 1 partner can be imported').waitFor();
    await page
      .getByRole('alert')
      .getByText(/^Rows with a bcrypt hash: 1\./)
      .waitFor();
    findings.push(...(await inspect(page, 'import-warnings')));
  });

  it('says whom to ask when a proxy refuses the size of the file', async () => {
    const imports = '**/admin/channel-users/import?**';
    await page.route(imports, (route) =>
      route.fulfill({ status: 413, contentType: 'text/html', body: '<h1>413</h1>' }),
    );
    await page.locator('input[type=file]').setInputFiles({
      name: 'partners.csv',
      mimeType: 'text/csv',
      buffer: Buffer.from('username,displayName\na,A\n'),
    });
    await page.getByRole('button', { name: 'Check the file' }).click();
    await page.getByText('A proxy in front of Latchkey refuses requests of this size.').waitFor();
    await page.unroute(imports);
  });

  it('lets an admin end the import of another person', async () => {
    const id = randomUUID();
    const upload = httpRequest(`${stage.url}/admin/channel-users/import?id=${id}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await stage.tokenOf(stage.admin)}`, 'content-type': 'text/csv' },
    });
    const status = new Promise((resolve) => {
      upload.on('response', (response) => {
        resolve(response.statusCode);
        upload.destroy();
      });
      upload.on('error', () => undefined);
    });
    upload.write('username,displayName\nnever-imported,Never\n');
    const token = await stage.tokenOf(stage.admin);
    await eventually(async () => {
      const answer = await stage.asStaff(token, 'GET', `/admin/channel-users/imports/${id}`);
      return answer.status === 200 || undefined;
    }, 'it runs');
    await page.goto(`${new URL(page.url()).origin}/console/import`);
    const row = page.getByRole('row').filter({ hasText: 'Running' });
    await row.getByRole('button', { name: 'Stop it' }).click();
    await page.getByRole('row', { name: /Ended by an admin, nothing imported/ }).waitFor();
    expect(await status).toBe(409);
    findings.push(...(await inspect(page, 'import-ended')));
  });

  it('works by keyboard, screen reader, in both themes and on a phone', () => {
    expect(findings).toEqual([]);
  });
});
