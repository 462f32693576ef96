import { parseArgs } from 'node:util';
import { exitWith } from './exit.ts';

/** `node dist/src/main.js [--application <file>]`; what is imported first stays first, everything else comes after it. */
async function main(): Promise<void> {
  const { values } = parseArgs({ options: { application: { type: 'string' } } });
  const { serve } = await import('./serve.ts');
  await serve(values.application);
}

main().catch(exitWith);
