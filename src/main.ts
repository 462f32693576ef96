import './server/process.ts';
import { parseArgs } from 'node:util';
import { exitWith } from './server/exit.ts';

/** `node dist/src/main.js [--application <file>]`. The dynamic import runs after the static imports above. */
async function main(): Promise<void> {
  const { values } = parseArgs({ options: { application: { type: 'string' } } });
  const { serve } = await import('./server/serve.ts');
  await serve(values.application);
}

main().catch(exitWith);
