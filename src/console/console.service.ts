import { Injectable } from '@nestjs/common';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { Config } from '../platform/config/config.ts';
import { ConsoleNotBuiltError } from './console.errors.ts';

/** Where `npm run build` puts the console. Compiled server and sources find the same folder. */
const BUILT = path.join(
  import.meta.dirname,
  import.meta.filename.endsWith('.ts') ? '../../dist/console' : '../../console',
);
export const ASSETS = path.join(BUILT, 'assets');

/** Placeholder in `console/index.html`; replaced by the nonce of the answer. */
const NONCE = '__CSP_NONCE__';
/** Placeholders for scheme and host of the console. It warns when it is opened over http instead of https. */
const SCHEME = '__PUBLIC_SCHEME__';
const HOST = '__PUBLIC_HOST__';

/** Prepares the console's page. */
@Injectable()
export class ConsoleService {
  constructor(private readonly config: Config) {}

  /**
   * The page with a fresh nonce for the styles that it adds at run time, and the matching Content-Security-Policy. Read
   * at each request, since the console may be rebuilt while the server runs; the file has one kilobyte.
   *
   * @throws ConsoleNotBuiltError when `index.html` cannot be read
   */
  async page(): Promise<{ html: string; policy: string }> {
    const nonce = randomBytes(16).toString('base64');
    const html = await readFile(path.join(BUILT, 'index.html'), 'utf8').catch((error: unknown) => {
      throw new ConsoleNotBuiltError(error);
    });
    const { protocol, host } = new URL(this.config.adminUrl ?? this.config.publicUrl);
    const filled = html.replaceAll(NONCE, nonce).replace(SCHEME, protocol.slice(0, -1)).replace(HOST, host);
    return { html: filled, policy: contentSecurityPolicy(nonce) };
  }
}

/** CSP Level 3: allows only resources of this server, no inline scripts, and inline styles only with the nonce. */
function contentSecurityPolicy(nonce: string): string {
  return [
    `default-src 'none'`,
    `script-src 'self'`,
    `style-src 'self' 'nonce-${nonce}'`,
    `connect-src 'self'`,
    `img-src 'self' data:`,
    `font-src 'self'`,
    `base-uri 'none'`,
    `form-action 'self'`,
    `frame-ancestors 'none'`,
  ].join('; ');
}
