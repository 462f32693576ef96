import { appendFileSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const folder = (): string => {
  const value = process.env['LATCHKEY_TEST_DIR'];
  if (value === undefined) throw new Error('LATCHKEY_TEST_DIR is set by the global setup');
  return value;
};

/**
 * Notes a secret that a test uses. After the whole run, no output may contain one of them.
 *
 * @returns the secret, for use in place
 */
export function secret(value: string): string {
  appendFileSync(path.join(folder(), `secrets-${String(process.pid)}`), `${JSON.stringify(value)}\n`);
  return value;
}

/** Keeps a piece of output for the search at the end. */
export function keepOutput(text: string): void {
  appendFileSync(path.join(folder(), `output-${String(process.pid)}`), text);
}

const read = (prefix: string): string =>
  readdirSync(folder())
    .filter((file) => file.startsWith(prefix))
    .map((file) => readFileSync(path.join(folder(), file), 'utf8'))
    .join('');

/** Looks for every noted secret in all output. Tokens count by their signature too. */
export function findLeaks(): { secrets: number; outputBytes: number; leaks: string[] } {
  const output = read('output-');
  const secrets = new Set(
    read('secrets-')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as string),
  );
  const leaks: string[] = [];
  for (const value of secrets) {
    const at = output.indexOf(value);
    if (at !== -1) leaks.push(output.slice(Math.max(0, output.lastIndexOf('\n', at)), at).slice(-400));
  }
  return { secrets: secrets.size, outputBytes: output.length, leaks };
}
