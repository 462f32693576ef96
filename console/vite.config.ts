import react from '@vitejs/plugin-react';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { defineConfig, type Plugin } from 'vite';

/** What a browser loads before it shows the overview, compressed with gzip: the larger of the two encodings. */
const FIRST_LOAD_KB = 500;
const COMPRESSED = /\.(js|css|svg)$/;

/** Writes `.br` and `.gz` beside each asset, and fails the build when the first load has grown over its budget. */
function compressWithinBudget(): Plugin {
  let outDir = '';
  return {
    name: 'latchkey:compress-within-budget',
    apply: 'build',
    configResolved(config) {
      outDir = path.resolve(config.root, config.build.outDir);
    },
    writeBundle(_, bundle) {
      const sizes = new Map<string, number>();
      const assets = path.join(outDir, 'assets');
      for (const file of readdirSync(assets).filter((name) => COMPRESSED.test(name))) {
        const content = readFileSync(path.join(assets, file));
        const gzip = gzipSync(content, { level: 9 });
        writeFileSync(path.join(assets, `${file}.gz`), gzip);
        const brotli = brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } });
        writeFileSync(path.join(assets, `${file}.br`), brotli);
        sizes.set(`assets/${file}`, gzip.length);
      }
      const first = new Set<string>();
      const add = (name: string): void => {
        const chunk = bundle[name];
        if (first.has(name) || chunk?.type !== 'chunk') return;
        first.add(name);
        chunk.imports.forEach(add);
        // The overview is what one sees first.
        chunk.dynamicImports.filter((each) => each.includes('overview')).forEach(add);
        chunk.viteMetadata?.importedCss.forEach((css) => first.add(css));
      };
      for (const chunk of Object.values(bundle)) if (chunk.type === 'chunk' && chunk.isEntry) add(chunk.fileName);
      const total = [...first].reduce((sum, name) => sum + (sizes.get(name) ?? 0), 0) / 1000;
      const text = `First load: ${total.toFixed(0)} KB compressed, at most ${String(FIRST_LOAD_KB)}`;
      if (total > FIRST_LOAD_KB) this.error(text);
      this.info(text);
    },
  };
}

export default defineConfig({
  root: import.meta.dirname,
  base: '/console/',
  cacheDir: '../node_modules/.vite',
  build: {
    outDir: '../dist/console',
    emptyOutDir: true,
    // Inlined as data: URLs they would need a wider policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 2_000,
    reportCompressedSize: false,
  },
  plugins: [react(), compressWithinBudget()],
});
