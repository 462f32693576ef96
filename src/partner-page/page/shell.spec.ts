import { spawnSync } from 'node:child_process';
import { rotateCommands } from './shell.ts';

/** Runs the commands with a `curl` that says what it was called with and prints what it was sent. */
function run(username: string, password: string): { called: string; sent: string } {
  const curl = `curl() { printf '%s\\n' "$*" >&2; cat; }`;
  const commands = rotateCommands('https://latchkey.example/partners', username);
  const { status, stdout, stderr } = spawnSync('bash', ['-c', `${curl}; ${commands}`], {
    input: `${password}\n`,
    encoding: 'utf8',
  });
  expect(status).toBe(0);
  return { called: stderr, sent: stdout };
}

it.each(['3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11', 'a "quoted" \\ & $HOME `id` word', "it's 100 %"])(
  'proves the rotation with the typed password: %s',
  (password) => {
    expect(JSON.parse(run('acme', password).sent)).toEqual({ password });
  },
);

it('quotes the username, and calls only the given address', () => {
  const { called } = run("a'b $(id)", 'secret');
  expect(called).toContain("--data-urlencode Username=a'b $(id) --data-urlencode Password@-");
  expect(called.match(/\S+:\/\/\S+/g)).toEqual([
    'https://latchkey.example/partners/generateToken',
    'https://latchkey.example/partners/me/credentials',
  ]);
});
