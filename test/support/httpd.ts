import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { selfSigned } from './certificate.ts';
import { ForeignProcess, removeFolder, serverFolder } from './foreign-process.ts';
import { freePort } from './ports.ts';

export const HTTPD_COMMAND = '/usr/sbin/apache2';
const MODULES = ['mpm_event', 'authn_core', 'authz_core', 'proxy', 'proxy_http', 'rewrite', 'ssl'];

/** The file of one of Apache's modules. */
export const httpdModule = (name: string): string => `/usr/lib/apache2/modules/mod_${name}.so`;

interface HttpdOptions {
  /** The name of the module that verifies tokens. */
  readonly module: string;
  /** What the module's page says to put into a virtual host. */
  readonly site: string;
  readonly port: number;
  readonly issuer: string;
  readonly audience: string;
}

/** What Debian's files say around a site, with every path in one folder, and the issuer's JWKS by https. */
async function surroundings(folder: string, tlsPort: number, options: HttpdOptions): Promise<string> {
  const [key, certificate] = await selfSigned(folder);
  const [front, site] = [tlsPort, options.port].map((port) => `127.0.0.1:${String(port)}`);
  const modules = [...MODULES, options.module];
  return `ServerName localhost
    ServerRoot ${folder}
    DefaultRuntimeDir ${folder}
    PidFile ${folder}/pid
    ErrorLog ${folder}/error.log
    ${modules.map((name) => `LoadModule ${name}_module ${httpdModule(name)}`).join('\n    ')}
    <IfModule auth_openidc_module>
      OIDCCABundlePath ${certificate}
    </IfModule>
    Listen ${front ?? ''}
    <VirtualHost ${front ?? ''}>
      SSLEngine on
      SSLCertificateFile ${certificate}
      SSLCertificateKeyFile ${key}
      ProxyPass / ${options.issuer}/
    </VirtualHost>
    Listen ${site ?? ''}
    <VirtualHost ${site ?? ''}>
      Include ${folder}/site.conf
    </VirtualHost>`;
}

/**
 * Runs Debian's Apache with a site, before a service that answers with the client in the X-Client-Id header.
 *
 * @returns what stops it
 */
export async function startHttpd(options: HttpdOptions): Promise<() => Promise<void>> {
  const folder = await serverFolder('httpd');
  const service = createServer(({ headers }, response) => {
    response.end(JSON.stringify({ client_id: headers['x-client-id'] }));
  }).listen(0, '127.0.0.1');
  await once(service, 'listening');
  let httpd: ForeignProcess | undefined;
  const stop = async (): Promise<void> => {
    // Not SIGKILL, which would leave its workers running.
    await httpd?.stop('SIGTERM');
    service.close();
    service.closeAllConnections();
    await removeFolder(folder);
  };
  try {
    const tlsPort = await freePort();
    const main = path.join(folder, 'httpd.conf');
    await writeFile(main, await surroundings(folder, tlsPort, options));
    await writeFile(path.join(folder, 'site.conf'), options.site);
    const env = {
      LC_ALL: 'C',
      ISSUER: options.issuer,
      AUDIENCE: options.audience,
      JWKS_URI: `https://127.0.0.1:${String(tlsPort)}/.well-known/jwks.json`,
      UPSTREAM: `127.0.0.1:${String((service.address() as AddressInfo).port)}`,
    };
    httpd = await ForeignProcess.start(HTTPD_COMMAND, ['-DFOREGROUND', '-f', main], options.port, { env });
    return stop;
  } catch (error) {
    await stop();
    throw error;
  }
}
