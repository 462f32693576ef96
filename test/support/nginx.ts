import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ForeignProcess, removeFolder, serverFolder } from './foreign-process.ts';
import { freePort } from './ports.ts';

const EXAMPLE = path.join(import.meta.dirname, '../../deploy/nginx/latchkey.conf');

/** Replaces what must be there. */
function replaced(text: string, pattern: RegExp, by: string): string {
  if (!pattern.test(text)) throw new Error(`${EXAMPLE} has nothing like ${String(pattern)}`);
  return text.replaceAll(pattern, by);
}

/** What stands around the example in /etc/nginx/nginx.conf, with every path in a folder of its own. */
const surroundings = (folder: string): string => `
  daemon off;
  worker_processes 1;
  pid ${folder}/pid;
  error_log ${folder}/error.log warn;
  events { worker_connections 2048; }
  http {
    ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((kind) => `${kind}_temp_path ${folder}/${kind};`)
      .join('\n    ')}
    include ${folder}/latchkey.conf;
  }`;

/** Debian's nginx with the configuration of deploy/nginx, before instances on this machine. */
export class Nginx {
  readonly port: number;
  readonly folder: string;
  #process: ForeignProcess | undefined;

  private constructor(port: number, folder: string) {
    this.port = port;
    this.folder = folder;
  }

  /** @param ports of the instances */
  static async start(ports: readonly number[]): Promise<Nginx> {
    const nginx = new Nginx(await freePort(), await serverFolder('nginx'));
    try {
      await nginx.#configure(ports);
      const args = ['-p', nginx.folder, '-c', path.join(nginx.folder, 'nginx.conf'), '-e', 'stderr'];
      nginx.#process = await ForeignProcess.start('/usr/sbin/nginx', args, nginx.port);
      return nginx;
    } catch (error) {
      await nginx.remove();
      throw error;
    }
  }

  get url(): string {
    return `http://127.0.0.1:${String(this.port)}`;
  }

  /** The lines of the access log; the format is the example's. */
  async log(): Promise<string[]> {
    const text = await readFile(path.join(this.folder, 'latchkey.log'), 'utf8');
    return text.split('\n').filter((line) => line !== '');
  }

  async remove(): Promise<void> {
    await this.#process?.stop();
    await removeFolder(this.folder);
  }

  async #configure(ports: readonly number[]): Promise<void> {
    let text = await readFile(EXAMPLE, 'utf8');
    const [first = ''] = /^ *server 10\.0\.0\.11:3000.*$/m.exec(text) ?? [];
    text = replaced(text, /^ *server 10\.0\.0\.1[23]:3000.*\n/gm, '');
    const servers = ports.map((port) => first.replace('10.0.0.11:3000', `127.0.0.1:${String(port)}`));
    text = replaced(text, /^ *server 10\.0\.0\.11:3000.*$/gm, servers.join('\n'));
    text = replaced(text, /^ *listen 443 ssl;$/gm, `    listen 127.0.0.1:${String(this.port)};`);
    text = replaced(text, /^ *ssl_certificate.*\n/gm, '');
    text = replaced(text, /\/var\/log\/nginx\//g, `${this.folder}/`);
    await writeFile(path.join(this.folder, 'latchkey.conf'), text);
    await writeFile(path.join(this.folder, 'nginx.conf'), surroundings(this.folder));
  }
}
