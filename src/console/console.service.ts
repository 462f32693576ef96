import { Injectable } from '@nestjs/common';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { ConsoleNotBuiltError } from './console.errors.ts';

/** Where `npm run build` puts the console: the same folder for the compiled server and for its sources. */
const BUILT = path.join(
  import.meta.dirname,
  import.meta.filename.endsWith('.ts') ? '../../dist/console' : '../../console',
);
export const ASSETS = path.join(BUILT, 'assets');

/** Written by `console/index.html`; becomes the nonce of the answer. */
const NONCE = '__CSP_NONCE__';

/** Hands out the page of the console. */
@Injectable()
export class ConsoleService {
  /**
   * The page with a nonce of its own, for the styles that it adds while it runs. Read at each request: it is a
   * kilobyte, asked for once a visit, and may be built anew under the running server.
   *
   * @throws ConsoleNotBuiltError
   */
  async page(): Promise<{ html: string; policy: string }> {
    const nonce = randomBytes(16).toString('base64');
    const html = await readFile(path.join(BUILT, 'index.html'), 'utf8').catch((error: unknown) => {
      throw new ConsoleNotBuiltError(error);
    });
    return { html: html.replaceAll(NONCE, nonce), policy: contentSecurityPolicy(nonce) };
  }
}

/** CSP Level 3: nothing but what this server sends; no inline script, and inline styles only with the nonce. */
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
