import pg from 'pg';
import { chromiumPath, inspect } from '../support/browser.ts';
import { ConsoleStage } from '../support/console.ts';

/** The Audit page and the chain, in a real browser; see `console-story.e2e.ts`. */
const executable = chromiumPath();
const story = executable === undefined ? describe.skip : describe;

let stage: ConsoleStage | undefined;

story('the Audit page', () => {
  afterEach(() => stage?.leaveOpenPages());
  afterAll(() => stage?.close());

  it('shows whether the chain is intact and where it is broken', async () => {
    stage = await ConsoleStage.start(executable ?? '');
    const { context, page } = await stage.somebody();
    await stage.signIn(page, stage.admin);
    await page.getByRole('menuitem', { name: 'Audit' }).click();
    await page.getByText('Chain not yet verified').waitFor();
    await page.getByRole('button', { name: 'Verify now' }).click();
    await page.getByText(/^Chain intact up to event 2, checked/).waitFor();

    const superuser = new pg.Client({ connectionString: stage.databaseUrl });
    await superuser.connect();
    await superuser.query(
      `SET session_replication_role = replica; UPDATE audit_event SET action = 'x.y' WHERE seq = 1`,
    );
    await superuser.end();
    await page.getByRole('button', { name: 'Verify now' }).click();
    await page.getByText(/^Chain broken: Event 1 was changed after it was written, checked/).waitFor();
    expect(await inspect(page, 'audit-chain-broken')).toEqual([]);
    await context.close();
    expect(stage.complaints).toEqual([]);
  });
});
