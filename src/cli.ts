import './server/process.ts';
import { exitWith } from './server/exit.ts';

/** `node dist/src/cli.js <command>`. The dynamic import keeps all other modules after the static imports above. */
async function main(): Promise<void> {
  const { runCommand } = await import('./cli/cli.ts');
  await runCommand();
}

main().catch(exitWith);
