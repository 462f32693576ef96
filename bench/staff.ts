import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { ROOT } from './server-process.ts';

const EMAIL = 'bench@latchkey.example';

/** Makes an admin of the benchmark's own with the command line. @returns the password */
export async function createAdmin(env: Readonly<Record<string, string>>): Promise<string> {
  const create = ['dist/src/cli.js', 'staff', 'create', '--email', EMAIL, '--name', 'Bench', '--role', 'admin'];
  const { stdout } = await promisify(execFile)(process.execPath, create, {
    cwd: ROOT,
    env: { PATH: process.env['PATH'], ...env },
  });
  const password = /password: (\S+)/i.exec(stdout)?.[1];
  if (password === undefined) throw new Error(`The command printed no password: ${stdout}`);
  return password;
}

/** @returns the token of the admin that {@link createAdmin} made */
export async function signInAdmin(origin: string, password: string): Promise<string> {
  const response = await fetch(`${origin}/admin/session`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email: EMAIL, password }),
  });
  if (!response.ok) throw new Error(`The admin is not signed in: ${await response.text()}`);
  return ((await response.json()) as { accessToken: string }).accessToken;
}
