/**
 * The README's run command, as a newcomer runs it: `npm start` with nothing but PATH and an empty home. Starts, signs
 * in, provisions, generates a token, uses it, stops, starts again.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { isRunning, ServerProcess } from './support/server.ts';
import { signInStaff } from './support/staff-sign-in.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'latchkey-smoke-'));
const dataDir = path.join(folder, 'data');
const env = { HOME: folder, LATCHKEY_DATA_DIR: dataDir, PORT: '0' };
const shell = (command: string): string => execFileSync('sh', ['-c', command], { encoding: 'utf8' });
const say = (line: string): boolean => process.stdout.write(`smoke: ${line}\n`);

async function call(url: string, init?: RequestInit): Promise<Response> {
  return fetch(url, init);
}
const json = (body: unknown, token?: string): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', ...(token !== undefined && { authorization: `Bearer ${token}` }) },
  body: JSON.stringify(body),
});

const begun = Date.now();
let server = new ServerProcess({ command: ['npm', 'start'], env });
try {
  const url = await server.listening();
  say(`first start serves after ${String(Date.now() - begun)} ms`);
  const curls = server.lines.filter((line) => line.startsWith('curl '));
  assert.equal(curls.length, 2);
  const demoToken = shell(curls[0] ?? '');
  assert.match(demoToken, /^[\w-]+\.[\w-]+\.[\w-]+$/);
  say(`first token after ${String(Date.now() - begun)} ms`);
  const demo = JSON.parse(shell(curls[1] ?? '')) as { username: string };
  assert.equal(demo.username, 'demo-partner');

  const email = server.line('Admin e-mail: ');
  const password = server.line('Admin password: ');
  const session = (await (await signInStaff(url, { email, password })).json()) as { accessToken: string };
  const created = (await (
    await call(`${url}/admin/channel-users`, json({ username: 'smoke', displayName: 'Smoke' }, session.accessToken))
  ).json()) as { credential: { password: string } };
  const form = new URLSearchParams({ Username: 'smoke', Password: created.credential.password });
  const token = await (await call(`${url}/generateToken`, { method: 'POST', body: form })).text();
  const me = await call(`${url}/me`, { headers: { authorization: `Bearer ${token}` } });
  assert.equal(me.status, 200);
  say('provisioned, generated, used');

  const postmaster = Number(readFileSync(path.join(dataDir, 'postgres', 'postmaster.pid'), 'utf8').split('\n')[0]);
  assert.ok(isRunning(postmaster));
  await server.interrupt();
  assert.ok(!isRunning(postmaster), 'Ctrl-C left the database running');
  say('Ctrl-C stopped all of it');

  server = new ServerProcess({ command: ['npm', 'start'], env });
  const again = await server.listening();
  assert.deepEqual(
    server.lines.filter((line) => /password|curl/i.test(line)),
    [],
  );
  const still = await call(`${again}/me`, { headers: { authorization: `Bearer ${token}` } });
  assert.equal(still.status, 200);
  say('the second start kept the data and showed no secret');
} finally {
  await server.interrupt().catch(() => undefined);
  rmSync(folder, { recursive: true, force: true });
}
