/**
 * Both sides, each restarting on change: the server by `nest start --watch`, the console by Vite, which asks the server
 * for everything else. The browser sees one origin, so that the session's cookie and the origin check work as they do
 * when the server serves the console.
 */
import { spawn, spawnSync } from 'node:child_process';
import path from 'node:path';
import { createServer } from 'vite';

const root = path.join(import.meta.dirname, '..');
const port = process.env['PORT'] ?? '3000';

// What `nest` does not notice: outputs of deleted sources, and of a build that was interrupted. It reports errors itself.
spawnSync(process.execPath, ['scripts/build.js', '--server'], { cwd: root, stdio: 'inherit' });
const server = spawn(path.join(root, 'node_modules/.bin/nest'), ['start', '--watch', '--preserveWatchOutput'], {
  cwd: root,
  stdio: 'inherit',
});
const console = await createServer({
  configFile: path.join(import.meta.dirname, 'vite.config.ts'),
  server: { proxy: { '/admin': { target: `http://127.0.0.1:${port}`, changeOrigin: false } } },
});
await console.listen();
console.printUrls();

server.on('exit', (code) => {
  void console.close().then(() => process.exit(code ?? 0));
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => server.kill(signal));
