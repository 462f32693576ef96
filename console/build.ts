/**
 * Builds the console into `dist/console`, unless nothing that goes into it has changed since the last time.
 */
import { createHash } from 'node:crypto';
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const root = path.join(import.meta.dirname, '..');
const types = path.join(import.meta.dirname, 'src/openapi.ts');
const stamp = path.join(root, 'dist/console/.inputs');

/** A digest of everything that the build reads. */
function digest(): string {
  const sources = globSync('{src/**/*,index.html,*.ts,*.json}', { cwd: import.meta.dirname, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .filter((file) => file !== types);
  const hash = createHash('sha256');
  for (const file of [...sources.sort(), path.join(root, 'package-lock.json'), path.join(root, 'openapi.json')]) {
    hash.update(path.relative(root, file)).update('\0').update(readFileSync(file)).update('\0');
  }
  return hash.digest('hex');
}

async function build(): Promise<void> {
  const inputs = digest();
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === inputs) return;
  const vite = await import('vite');
  await vite.build({ configFile: path.join(import.meta.dirname, 'vite.config.ts'), logLevel: 'warn' });
  writeFileSync(stamp, inputs);
}

await build();
