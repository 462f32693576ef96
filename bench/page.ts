import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { format, resolveConfig } from 'prettier';

/** The page of the benchmark itself. */
export const RESULTS = 'RESULTS.md';

/** Writes a page of figures to this folder, formatted with Prettier because `npm run format` checks it. */
export async function writePage(name: string, markdown: string): Promise<void> {
  const file = path.join(import.meta.dirname, name);
  await writeFile(file, await format(markdown, { ...(await resolveConfig(file)), filepath: file }));
}
