/** Lets Node load TypeScript with decorators and their metadata, which Node's own type stripping does not support. */
import { transformSync } from '@swc/core';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const OPTIONS = {
  sourceMaps: true,
  jsc: {
    target: 'es2023',
    parser: { syntax: 'typescript', decorators: true },
    transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: false },
    keepClassNames: true,
  },
  module: { type: 'es6' },
};

/** Files with the source map of each module, by the module's URL. */
export const sourceMaps = new Map();

const folder = path.join(process.env.LATCHKEY_TEST_DIR ?? '', `source-maps-${String(process.pid)}`);
mkdirSync(folder, { recursive: true });

registerHooks({
  load(url, context, nextLoad) {
    if (!url.startsWith('file:') || !url.endsWith('.ts')) return nextLoad(url, context);
    const filename = fileURLToPath(url);
    const { code, map } = transformSync(readFileSync(filename, 'utf8'), { ...OPTIONS, filename });
    const file = path.join(folder, createHash('sha256').update(url).digest('hex'));
    writeFileSync(file, map);
    sourceMaps.set(url, file);
    return { format: 'module', source: code, shortCircuit: true };
  },
});
