import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { selfSigned } from './certificate.ts';
import { ForeignProcess, removeFolder, serverFolder } from './foreign-process.ts';
import { freePort } from './ports.ts';

const EXAMPLE = path.join(import.meta.dirname, '../../deploy/nginx/latchkey.conf');

/** Replaces a pattern. Throws if the text does not contain it. */
function replaced(text: string, pattern: RegExp, by: string): string {
  if (!pattern.test(text)) throw new Error(`${EXAMPLE} has nothing like ${String(pattern)}`);
  return text.replaceAll(pattern, by);
}

/** A main configuration that includes the example, with every path in one folder. */
const surroundings = (folder: string): string => `
  daemon off;
  worker_processes 1;
  pid ${folder}/pid;
  error_log ${folder}/error.log info;
  events { worker_connections 2048; }
  http {
    ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((kind) => `${kind}_temp_path ${folder}/${kind};`)
      .join('\n    ')}
    include ${folder}/latchkey.conf;
  }`;

/** Debian's nginx with the configuration of deploy/nginx, in front of instances on this machine. */
export class Nginx {
  readonly port: number;
  readonly folder: string;
  /** The port for TLS. */
  tlsPort = 0;
  #process: ForeignProcess | undefined;

  private constructor(port: number, folder: string) {
    this.port = port;
    this.folder = folder;
  }

  /**
   * @param ports the ports of the instances
   * @param options.legacyQueryCredentials whether to apply the change that the example describes for this setting
   */
  static async start(ports: readonly number[], { legacyQueryCredentials = false } = {}): Promise<Nginx> {
    const nginx = new Nginx(await freePort(), await serverFolder('nginx'));
    try {
      await nginx.#configure(ports, legacyQueryCredentials);
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

  /** The text of all files that nginx has written to its folder: logs, and buffered requests and answers. */
  async written(): Promise<string> {
    const entries = await readdir(this.folder, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile() && !/\.(conf|crt|key)$/.test(entry.name));
    const texts = await Promise.all(files.map(({ parentPath, name }) => readFile(path.join(parentPath, name), 'utf8')));
    return texts.join('\n');
  }

  /** The lines of the access log, in the example's format. */
  async log(): Promise<string[]> {
    const text = await readFile(path.join(this.folder, 'latchkey.log'), 'utf8');
    return text.split('\n').filter((line) => line !== '');
  }

  async remove(): Promise<void> {
    await this.#process?.stop();
    await removeFolder(this.folder);
  }

  async #configure(ports: readonly number[], legacyQueryCredentials: boolean): Promise<void> {
    let text = await readFile(EXAMPLE, 'utf8');
    const [first = ''] = /^ *server 10\.0\.0\.11:3000.*$/m.exec(text) ?? [];
    text = replaced(text, /^ *server 10\.0\.0\.1[23]:3000.*\n/gm, '');
    const servers = ports.map((port) => first.replace('10.0.0.11:3000', `127.0.0.1:${String(port)}`));
    text = replaced(text, /^ *server 10\.0\.0\.11:3000.*$/gm, servers.join('\n'));
    const listen = `    listen 127.0.0.1:${String(this.port)}`;
    // Besides the example's TLS, offers plain HTTP for tests that are not about TLS.
    this.tlsPort = await freePort();
    text = replaced(text, /^ *listen 443 ssl;$/gm, `${listen};\n    listen 127.0.0.1:${String(this.tlsPort)} ssl;`);
    text = replaced(text, /\/etc\/ssl\/latchkey\//g, `${this.folder}/`);
    text = replaced(text, /\/var\/log\/nginx\//g, `${this.folder}/`);
    if (legacyQueryCredentials) text = replaced(text, /^ *default 1;$/gm, '    default 0;');
    await selfSigned(this.folder);
    await writeFile(path.join(this.folder, 'latchkey.conf'), text);
    await writeFile(path.join(this.folder, 'nginx.conf'), surroundings(this.folder));
  }
}
