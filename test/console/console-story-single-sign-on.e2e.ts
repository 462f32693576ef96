import type { Page } from 'playwright-core';
import { chromiumPath, inspect } from '../support/browser.ts';
import { ConsoleStage } from '../support/console.ts';
import { onDatabase } from '../support/database.ts';
import { IdentityProviderStage } from '../support/identity-provider.ts';

/** Signing in at an identity provider on another site, in a real browser; see `console-story.e2e.ts`. */
const executable = chromiumPath();
const story = executable === undefined ? describe.skip : describe;

let stage: ConsoleStage;
let provider: IdentityProviderStage;

/** Types a name on the page of the provider. */
async function signInAtProvider(page: Page, person: string): Promise<void> {
  await page.getByRole('heading', { name: 'Company Login' }).waitFor();
  await page.getByLabel('Name').fill(person);
  await page.getByRole('button', { name: 'Continue' }).click();
}

story('single sign-on', () => {
  beforeAll(async () => {
    provider = await IdentityProviderStage.start({ consoleUrl: 'http://127.0.0.1:1', host: 'localhost' });
    provider.people.set('grace', { email: 'grace@company.example', name: 'Grace Hopper', groups: ['g-admins'] });
    provider.people.set('stranger', { email: 'stranger@company.example', name: 'Stranger', groups: [] });
    stage = await ConsoleStage.start(executable ?? '', provider.environment);
    provider.consoleUrl = stage.url;
  });
  afterEach(() => stage.leaveOpenPages());
  afterAll(async () => {
    await stage.close();
    await provider.close();
  });

  it('signs a person in, and back to the page that was asked for', async () => {
    const { context, page } = await stage.somebody();
    await page.goto(`${stage.url}/console/staff`);
    const link = page.getByRole('link', { name: 'Sign in with Company Login' });
    expect(await link.getAttribute('href')).toBe(`${stage.url}/admin/session/oidc?from=%2Fconsole%2Fstaff`);
    expect(await page.getByLabel('E-mail').isVisible()).toBe(true);
    expect(await inspect(page, 'sign-in-single-sign-on')).toEqual([]);
    await page.getByRole('link', { name: 'Sign in with Company Login' }).click();
    await signInAtProvider(page, 'grace');
    await page.waitForURL(`${stage.url}/console/staff`);
    const row = page.getByRole('row', { name: /Grace Hopper/ });
    await row.getByText('Company Login').waitFor();
    expect(await inspect(page, 'staff-single-sign-on')).toEqual([]);
    await page.goto(`${stage.url}/console/profile`);
    await page.getByText('You sign in with Company Login').waitFor();
    expect(await page.getByLabel('Current password').count()).toBe(0);
    expect(await inspect(page, 'profile-single-sign-on')).toEqual([]);
    await context.close();
    expect(stage.complaints).toEqual([]);
  });

  it('tells a person without a group whom to ask, and that the provider is down', async () => {
    const { context, page } = await stage.somebody();
    await page.goto(`${stage.url}/console/`);
    await page.getByRole('link', { name: 'Sign in with Company Login' }).click();
    await signInAtProvider(page, 'stranger');
    await page.getByRole('heading', { name: 'You have no access to Latchkey' }).waitFor();
    await page.getByText('Ask whoever manages the groups at Company Login').waitFor();
    expect(await inspect(page, 'single-sign-on-refused')).toEqual([]);
    await page.getByRole('link', { name: 'Back to the sign-in' }).click();
    await page.getByRole('link', { name: 'Sign in with Company Login' }).waitFor();
    await context.close();
    expect(stage.complaints).toEqual([]);
  });

  it('keeps what was typed when the session ends, and goes on after a sign-in in a window of its own', async () => {
    const { context, page } = await stage.somebody();
    await page.goto(`${stage.url}/console/`);
    await page.getByRole('link', { name: 'Sign in with Company Login' }).click();
    await signInAtProvider(page, 'grace');
    await page.getByRole('menuitem', { name: 'Partners' }).click();
    await page.getByRole('link', { name: 'Add partner' }).first().click();
    await page.getByLabel('Notes').fill('Half typed');
    await page.getByLabel('Display name').fill('Half Typed');
    await onDatabase(stage.databaseUrl, (client) => client.query('DELETE FROM staff_session'));
    // The page may have noticed by itself, and the dialog then covers the button.
    await page.getByRole('button', { name: 'Add partner' }).dispatchEvent('click');
    const dialog = page.getByRole('dialog', { name: 'Your session has ended' });
    await dialog.getByText('Grace Hopper').waitFor();
    expect(await inspect(page, 'sign-in-again-single-sign-on')).toEqual([]);
    // The provider knows the person, so the window closes by itself.
    const [window] = await Promise.all([
      page.waitForEvent('popup'),
      dialog.getByRole('button', { name: 'Sign in with Company Login' }).click(),
    ]);
    await dialog.waitFor({ state: 'detached' });
    if (!window.isClosed()) await window.waitForEvent('close');
    expect(await page.getByLabel('Notes').inputValue()).toBe('Half typed');
    await context.close();
    expect(stage.complaints).toEqual([]);
  });

  it('leaves passwords to break-glass accounts, and never leads away by itself after a sign-out', async () => {
    const { context, page } = await stage.somebody();
    await page.goto(`${stage.url}/console/staff`);
    await page.getByRole('link', { name: 'Sign in with Company Login' }).click();
    await signInAtProvider(page, 'grace');
    await page.getByRole('button', { name: 'Actions for Ada Admin' }).click();
    await page.getByRole('menuitem', { name: 'Make it a break-glass account' }).click();
    await page.getByRole('button', { name: 'Make it break-glass' }).click();
    await page.getByText('Break-glass', { exact: true }).waitFor();

    await page.getByRole('menuitem', { name: 'Settings' }).click();
    await page.getByRole('button', { name: 'Restrict passwords to break-glass accounts' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('button', { name: 'Restrict them' }).click();
    await dialog.getByText('No break-glass admin has a second factor.').waitFor();
    await onDatabase(stage.databaseUrl, (client) =>
      client.query(
        `UPDATE staff SET second_factor_at = now(), totp_secret = '\\x00', last_totp_step = 0 WHERE break_glass`,
      ),
    );
    await dialog.getByRole('button', { name: 'Restrict them' }).click();
    await page.getByText('Break-glass only', { exact: true }).waitFor();
    expect(await inspect(page, 'settings-local-sign-in')).toEqual([]);

    await page.getByRole('button', { name: /Profile|account/i }).click();
    await page.getByRole('menuitem', { name: 'Sign out' }).click();
    await page.getByText('You are signed out of Latchkey.').waitFor();
    expect(page.url().startsWith(stage.url)).toBe(true);
    expect(await page.getByLabel('E-mail').count()).toBe(0);
    expect(await inspect(page, 'signed-out-single-sign-on')).toEqual([]);
    await page.getByRole('button', { name: 'Use a break-glass account' }).click();
    await page.getByLabel('E-mail').fill(stage.admin.email);
    await page.getByLabel('Password').fill(stage.admin.password);
    await stage.pressSignIn(page);
    await page.getByText('One more step: your second factor.').waitFor();

    await page.reload();
    await page.getByRole('link', { name: 'Sign in with Company Login' }).waitFor();
    await context.close();
    expect(stage.complaints).toEqual([]);
  });

  it('leads out of the provider as well, and back to the console', async () => {
    const { context, page } = await stage.somebody();
    await page.goto(`${stage.url}/console/`);
    await page.getByRole('link', { name: 'Sign in with Company Login' }).click();
    await signInAtProvider(page, 'grace');
    await page.getByRole('button', { name: /Profile|account/i }).click();
    await page.getByRole('menuitem', { name: 'Sign out' }).click();
    await page.getByRole('link', { name: 'sign out of Company Login' }).click();
    await page.getByRole('button', { name: /Yes/ }).click();
    await page.waitForURL(`${stage.url}/console/**`);
    await page.getByRole('link', { name: 'Sign in with Company Login' }).click();
    await page.getByRole('heading', { name: 'Company Login' }).waitFor();
    await context.close();
    expect(stage.complaints).toEqual([]);
  });
});
