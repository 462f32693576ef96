import { TOTP } from 'otpauth';
import type { Page } from 'playwright-core';
import { chromiumPath, inspect } from '../support/browser.ts';
import { ConsoleStage } from '../support/console.ts';
import { secret } from '../support/secrets.ts';

/** What happens to typed input and to secrets that are shown once, in a real browser. */
const executable = chromiumPath();
const browserStory = executable === undefined ? describe.skip : describe;

browserStory('forms and secrets of the console', () => {
  let stage: ConsoleStage;
  let admin: string;
  const findings: string[] = [];

  beforeAll(async () => {
    stage = await ConsoleStage.start(executable ?? '');
    admin = await stage.tokenOf(stage.admin);
  });
  afterEach(() => stage.leaveOpenPages());
  afterAll(() => stage.close());

  /** @returns the id of a partner with that name */
  const partner = async (displayName: string): Promise<string> => {
    const username = displayName.toLowerCase().replaceAll(' ', '-');
    const answer = await stage.asStaff(admin, 'POST', '/admin/channel-users', { username, displayName });
    const { channelUser, credential } = (await answer.json()) as {
      channelUser: { id: string };
      credential: { password: string };
    };
    secret(credential.password);
    return channelUser.id;
  };

  /** A colleague with a password of its own. */
  const colleague = async (role: string, email: string): Promise<{ email: string; password: string }> => {
    const answer = await stage.asStaff(admin, 'POST', '/admin/staff', { email, name: `The ${role}`, role });
    return { email, password: secret(((await answer.json()) as { password: string }).password) };
  };

  const question = (page: Page) => page.getByRole('alertdialog');
  const stay = async (page: Page): Promise<void> => {
    await question(page).getByRole('button', { name: 'Stay' }).click();
    await question(page).waitFor({ state: 'hidden' });
  };
  /** Chromium asks in a dialog of its own before a reload; the answer is to stay. */
  const reloadIsAsked = async (page: Page): Promise<boolean> => {
    let asked = false;
    page.once('dialog', (dialog) => {
      asked = dialog.type() === 'beforeunload';
      void dialog.dismiss();
    });
    await page.reload({ timeout: 5_000 }).catch(() => undefined);
    return asked;
  };

  /** Types a name into the form for a new partner, and waits until its username is known to be free. */
  const typeName = async (page: Page, name: string): Promise<void> => {
    const answered = page.waitForResponse(/channel-users\?q=/);
    await page.getByLabel('Display name').fill(name);
    await answered;
  };

  const signInAgain = async (page: Page, password: string): Promise<void> => {
    const dialog = page.getByRole('dialog', { name: 'Your session has ended' });
    await dialog.getByLabel('Password').fill(password);
    await stage.pressSignIn(page, dialog);
  };

  /** Tries each way out, and stays. */
  async function tryWaysOut(page: Page): Promise<void> {
    const { href } = new URL(page.url());
    // Behind a modal dialog the menu is covered, but a click by a script is what an assistive tool does.
    await page.getByRole('menuitem', { name: 'Audit', includeHidden: true }).dispatchEvent('click');
    await stay(page);
    await page.evaluate('history.back()');
    await stay(page);
    expect(page.url()).toBe(href);
    expect(await reloadIsAsked(page)).toBe(true);
    expect(page.url()).toBe(href);
  }

  it('asks before the generated passwords of an import are lost', async () => {
    const { context, page } = await stage.somebody();
    await stage.signIn(page, stage.admin);
    await page.getByRole('menuitem', { name: 'Partners' }).click();
    await page.getByRole('link', { name: 'Import' }).first().click();
    await page.locator('input[type=file]').setInputFiles({
      name: 'partners.csv',
      mimeType: 'text/csv',
      buffer: Buffer.from('username,displayName\nimported-one,Imported One\n'),
    });
    await page.getByRole('button', { name: 'Check the file' }).click();
    await page.getByRole('button', { name: 'Import 1 partner' }).click();
    await page.getByText('1 one-time link was created').waitFor();
    await tryWaysOut(page);
    await page.getByRole('button', { name: /Profile|account/i }).click();
    await page.getByRole('menuitem', { name: 'Sign out' }).click();
    await question(page).getByText('cannot be shown again').waitFor();
    findings.push(...(await inspect(page, 'stay-or-discard')));
    await stay(page);
    await page.getByText('1 one-time link was created').waitFor();
    // A link in the page.
    await page.getByRole('link', { name: 'Back to partners' }).click();
    await question(page).getByRole('button', { name: 'Discard' }).click();
    await page.waitForURL('**/channel-users');
    expect(await reloadIsAsked(page)).toBe(false);
    await context.close();
  });

  it('asks before a new password, typed fields or a half-filled dialog are lost', async () => {
    const id = await partner('Guarded Partner');
    const { context, page } = await stage.somebody();
    await stage.signIn(page, stage.admin);
    await page.getByRole('menuitem', { name: 'Partners' }).click();
    await page.getByRole('link', { name: 'Guarded Partner' }).click();

    // A secret in a dialog.
    await page.getByRole('tab', { name: 'Passwords' }).click();
    await page.getByRole('button', { name: 'New password' }).click();
    await page.getByRole('radio', { name: /Show it to me now/ }).check();
    await page.getByRole('button', { name: 'Create password' }).click();
    secret(await page.getByLabel('Password', { exact: true }).inputValue());
    await tryWaysOut(page);
    await page.getByRole('button', { name: 'I have saved it' }).click();

    // Half a dialog: Escape and a click beside it ask.
    await page.getByRole('button', { name: 'Suspend' }).click();
    await page.getByLabel('Reason').fill('half a reason');
    await page.keyboard.press('Escape');
    await stay(page);
    await page.mouse.click(5, 5);
    await stay(page);
    await expect(page.getByLabel('Reason').inputValue()).resolves.toBe('half a reason');
    await page.keyboard.press('Escape');
    await question(page).getByRole('button', { name: 'Discard' }).click();
    await page.getByLabel('Reason').waitFor({ state: 'detached' });

    // A form in a tab: another tab is a way out.
    await page.getByRole('tab', { name: 'Account' }).click();
    await page.getByRole('button', { name: 'Edit' }).click();
    await page.getByLabel('Notes').fill('half a note');
    await page.getByRole('tab', { name: 'History' }).click();
    await stay(page);
    await tryWaysOut(page);
    await expect(page.getByLabel('Notes').inputValue()).resolves.toBe('half a note');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('button', { name: 'Edit' }).waitFor();
    // Saved: nothing is asked.
    await page.getByRole('tab', { name: 'History' }).click();
    await page.waitForURL(`**/${id}/show?tab=history`);

    // Deleting needs typed text, and leads to the list without a question.
    await page.getByRole('button', { name: 'Delete' }).click();
    await page.getByLabel(/Type .* to confirm/).fill('guarded-partner');
    await page.getByRole('button', { name: 'Delete permanently' }).click();
    await page.waitForURL('**/channel-users');
    await context.close();
  });

  it('keeps a half-typed form while asking for a new sign-in', async () => {
    const operator = await colleague('operator', 'odo@latchkey.example');
    const { context, page } = await stage.somebody();
    await stage.signIn(page, operator);
    await page.getByRole('menuitem', { name: 'Partners' }).click();
    await page.getByRole('link', { name: 'Add partner' }).first().click();
    await typeName(page, 'Half Typed');
    await page.getByLabel('Notes').fill('Some notes');
    await context.clearCookies();
    await page.getByRole('button', { name: 'Add partner' }).click();

    const again = page.getByRole('dialog', { name: 'Your session has ended' });
    await expect(again.getByLabel('E-mail').inputValue()).resolves.toBe(operator.email);
    findings.push(...(await inspect(page, 'sign-in-again')));
    await signInAgain(page, 'wrong');
    await again.getByRole('alert').waitFor();
    await signInAgain(page, operator.password);
    await again.waitFor({ state: 'hidden' });
    await expect(page.getByLabel('Display name').inputValue()).resolves.toBe('Half Typed');
    await expect(page.getByLabel('Notes').inputValue()).resolves.toBe('Some notes');
    await page.getByRole('button', { name: 'Add partner' }).click();
    await page.getByRole('dialog', { name: 'Half Typed is ready' }).waitFor();
    await page.getByRole('button', { name: 'I have copied the link' }).click();
    await page.getByRole('heading', { name: 'Half Typed', level: 1 }).waitFor();

    // A dialog, whose page has asked for nothing meanwhile.
    await page.getByRole('button', { name: 'Suspend' }).click();
    await page.getByLabel('Reason').fill('a reason');
    await context.clearCookies();
    await page.getByRole('dialog').getByRole('button', { name: 'Suspend' }).click();
    await signInAgain(page, operator.password);
    await again.waitFor({ state: 'hidden' });
    await page.getByRole('dialog').getByRole('button', { name: 'Suspend' }).click();
    await page.getByText('Half Typed is suspended.').waitFor();

    // Somebody else: asked, then the sign-in page, without what was typed.
    await page.getByRole('tab', { name: 'Account' }).click();
    await page.getByRole('button', { name: 'Edit' }).click();
    await page.getByLabel('Notes').fill('Odo’s own notes');
    await context.clearCookies();
    await page.getByRole('button', { name: 'Save' }).click();
    await again.getByRole('button', { name: 'Sign in as another person' }).click();
    await stay(page);
    await again.getByRole('button', { name: 'Sign in as another person' }).click();
    await question(page).getByRole('button', { name: 'Discard' }).click();
    await page.waitForURL('**/login');
    await page.getByRole('heading', { name: 'Latchkey', level: 1 }).waitFor();
    await page.getByText('Odo’s own notes').first().waitFor({ state: 'detached' });
    await context.close();
  });

  it('accepts a second factor in the dialog', async () => {
    const person = await colleague('operator', 'tova@latchkey.example');
    const own = await stage.tokenOf(person);
    const started = await stage.asStaff(own, 'POST', '/admin/session/totp', { currentPassword: person.password });
    const totp = new TOTP({ secret: secret(((await started.json()) as { secret: string }).secret) });
    const confirmed = await stage.asStaff(own, 'POST', '/admin/session/totp/confirm', { code: totp.generate() });
    const codes = ((await confirmed.json()) as { recoveryCodes: string[] }).recoveryCodes.map(secret);
    const { context, page } = await stage.somebody();
    await stage.signIn(page, person);
    await page.getByLabel('Code').fill(codes[0] ?? '');
    await page.getByRole('button', { name: 'Continue' }).click();
    await page.getByRole('menuitem', { name: 'Partners' }).click();
    await page.getByRole('link', { name: 'Add partner' }).first().click();
    await typeName(page, 'With A Code');
    await context.clearCookies();
    await page.getByRole('button', { name: 'Add partner' }).click();
    const again = page.getByRole('dialog', { name: 'Your session has ended' });
    await signInAgain(page, person.password);
    await again.getByLabel('Code').fill(codes[1] ?? '');
    await again.getByRole('button', { name: 'Continue' }).click();
    await again.waitFor({ state: 'hidden' });
    await expect(page.getByLabel('Display name').inputValue()).resolves.toBe('With A Code');
    await context.close();
  });

  it('explains the first wrong field before a request, and suggests a free username', async () => {
    await partner('Taken Name');
    const { context, page } = await stage.somebody();
    await stage.signIn(page, stage.admin);
    await page.getByRole('menuitem', { name: 'Partners' }).click();
    await page.getByRole('link', { name: 'Add partner' }).first().click();
    const username = page.getByLabel('Username');
    await page.getByLabel('Display name').fill('Taken Name');
    await page.locator('input[name=username][value="taken-name-2"]').waitFor();
    await username.fill('TAKEN-name');
    await page.getByText('This username is taken. “TAKEN-name-2” is free.').waitFor();
    await username.fill('');
    await page.getByLabel('Display name').fill('שירות חדרים');
    await page.getByText(/“שירות חדרים” cannot be turned into a username/).waitFor();

    let sent = 0;
    page.on('request', (request) => (sent += request.method() === 'POST' ? 1 : 0));
    await username.fill('x');
    await page.getByLabel('Contact e-mail').fill('nobody');
    await page.getByRole('button', { name: 'Add partner' }).click();
    await page.getByText('This is not an e-mail address.').waitFor();
    await page.locator('input[name=username]:focus').waitFor();
    expect(sent).toBe(0);

    // What only the server knows: the field has the focus, and the banner names it.
    await page.getByLabel('Contact e-mail').fill('');
    await username.fill('taken-name');
    await page.getByRole('button', { name: 'Add partner' }).click();
    await page.getByText('Not saved. Please correct: Username. Your input is kept.').waitFor();
    await page.locator('input[name=username]:focus').waitFor();
    findings.push(...(await inspect(page, 'form-refused')));
    await page.getByRole('link', { name: 'Cancel' }).click();
    await question(page).getByRole('button', { name: 'Discard' }).click();

    await page.goto(`${stage.url}/console/profile`);
    await page.getByLabel('Current password').fill('not my password');
    await page.getByLabel('New password').fill('short');
    await page.getByRole('button', { name: 'Change password' }).click();
    await page.getByText('At least 12 characters; this one has 5.').waitFor();
    await page.getByRole('button', { name: 'Set up' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Current password').fill('not my password');
    await dialog.getByRole('button', { name: 'Continue' }).click();
    await dialog.getByText('The current password is wrong.', { exact: true }).waitFor();
    await dialog.locator('input:focus').waitFor();
    await context.close();
  });

  it('isolates a right-to-left name in the title of a dialog', async () => {
    // Without isolation the question mark after it would stand on the wrong side.
    const name = 'ערוץ תכלת';
    const data = { username: 'right-to-left', displayName: name };
    const created = (await (await stage.asStaff(admin, 'POST', '/admin/channel-users', data)).json()) as {
      channelUser: { id: string };
      credential: { password: string };
    };
    secret(created.credential.password);
    const { context, page } = await stage.somebody();
    await stage.signIn(page, stage.admin);
    const titleHas = async (title: string): Promise<void> => {
      const heading = page.getByRole('dialog', { name: title }).getByRole('heading', { name: title });
      await heading.locator('bdi').getByText(name, { exact: true }).waitFor();
      await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
      await page.getByRole('dialog').waitFor({ state: 'detached' });
    };
    const at = `${stage.url}/console/channel-users/${created.channelUser.id}/show`;
    await page.goto(at);
    for (const [button, title] of [
      ['Suspend', `Suspend ${name}?`],
      ['Revoke tokens', `Revoke all tokens of ${name}?`],
      ['Delete', `Delete ${name}?`],
    ] as const) {
      await page.getByRole('button', { name: button }).click();
      await titleHas(title);
    }
    await page.goto(`${at}?tab=credentials`);
    await page.getByRole('button', { name: 'New password' }).click();
    await titleHas(`New password for ${name}`);
    await page.goto(`${at}?tab=grants`);
    await page.getByRole('button', { name: 'Grant' }).click();
    await titleHas(`What may ${name} see?`);
    await context.close();
  });

  it('offers the kinds of resources that the application requires and those of existing grants', async () => {
    const id = await partner('Marina Lets');
    const grant = { resourceType: 'anchorage', resourceIds: ['1'] };
    expect((await stage.asStaff(admin, 'POST', `/admin/channel-users/${id}/grants`, grant)).status).toBe(200);
    const { context, page } = await stage.somebody();
    await page.route('**/admin/resource-types', (route) =>
      route.fulfill({ json: { items: [{ name: 'berth' }, { name: 'boat' }] } }),
    );
    await stage.signIn(page, stage.admin);
    await page.goto(`${stage.url}/console/channel-users/${id}/show?tab=grants`);
    await page.getByRole('heading', { name: 'anchorage 1' }).waitFor();
    await page.getByRole('button', { name: 'Grant resources' }).click();
    const kind = page.getByRole('dialog').getByLabel('Kind of resource');
    expect(await kind.inputValue()).toBe('berth');
    await kind.press('ArrowDown');
    await page.getByRole('option').first().waitFor();
    expect(await page.getByRole('option').allTextContents()).toEqual(['berth', 'boat', 'anchorage']);
    await context.close();
  });

  it('tells a partner after a reload that the password was revealed there', async () => {
    const id = await partner('Reloading Partner');
    const made = await stage.asStaff(admin, 'POST', `/admin/channel-users/${id}/credentials`, { deliver: 'link' });
    const { hash } = new URL(((await made.json()) as { handoverUrl: string }).handoverUrl);
    secret(hash.slice(1));
    const { context, page } = await stage.somebody();
    page.on('dialog', (dialog) => void dialog.accept());
    // As a mail gateway writes it, with the full stop of the sentence.
    await page.goto(`${stage.url}/handover%23${hash.slice(1)}.`);
    expect(new URL(page.url()).pathname).toBe('/handover');
    await page.getByRole('button', { name: 'Reveal' }).click();
    await page.getByRole('heading', { name: 'Credentials of Reloading Partner' }).waitFor();
    secret((await page.locator('#password').textContent()) ?? '');
    await page.reload();
    await page.getByRole('heading', { name: 'Already revealed in this tab' }).waitFor();
    findings.push(...(await inspect(page, 'handover-before')));
    // A link that was cut off is another matter.
    await page.goto(`${stage.url}/handover#${hash.slice(1, 20)}`);
    await page.getByRole('heading', { name: 'This link is not complete' }).waitFor();
    await context.close();
  });

  it('passes axe and causes no complaint of the browser', () => {
    expect(findings).toEqual([]);
    expect(stage.complaints).toEqual([]);
  });
});
