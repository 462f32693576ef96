import type { FastifyReply } from 'fastify';

/**
 * A path parameter that begins with a percent-encoded `#`. Some mail gateways encode the `#` of a one-time link, even
 * repeatedly, so that its secret arrives in the path. For `@Get()` and `@Controller()`.
 */
export const MANGLED_FRAGMENT = ':mangled(^[#%].*$)';

/** The secret, 32 random bytes in base64url. Mail programs may have added punctuation after it. */
const SECRET = /^(?:#|%(?:25)*23)([A-Za-z0-9_-]{43})(?![A-Za-z0-9_-])/;

/**
 * Redirects to the page of the link with the secret in the fragment, which browsers do not send to servers. Without a
 * complete secret, redirects to the page alone. The browser's address bar and history get the repaired URL.
 *
 * @param page a relative URL, so that it also works if PUBLIC_URL has a path
 */
export function sendRepaired(reply: FastifyReply, page: string, mangled: string): void {
  const secret = SECRET.exec(mangled)?.[1];
  void reply
    .headers({ 'cache-control': 'no-store', 'referrer-policy': 'no-referrer', 'x-robots-tag': 'noindex' })
    .redirect(secret === undefined ? page : `${page}#${secret}`, 302);
}
