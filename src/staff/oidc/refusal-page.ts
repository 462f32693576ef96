import type { FastifyReply, FastifyRequest } from 'fastify';
import type { AppError } from '../../platform/common/errors.ts';
import { problemOf, titleOf } from '../../platform/http/error.filter.ts';
import { PAGE_HEADERS } from '../../platform/http/static-page.ts';
import { OidcError } from './oidc.errors.ts';

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};
const escaped = (text: string): string => text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? '');

/** A page that needs neither scripts nor the console. */
function pageOf(title: string, detail: string, requestId: string): string {
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="color-scheme" content="light dark" />
    <title>${escaped(title)}</title>
    <link rel="icon" type="image/svg+xml" href="/console/password-link/icon.svg" />
    <link rel="stylesheet" href="/console/password-link/page.css" />
    <link rel="stylesheet" href="/console/password-link/form.css" />
  </head>
  <body>
    <main>
      <img class="mark" src="/console/password-link/icon.svg" alt="" width="40" height="40" />
      <h1>${escaped(title)}</h1>
      <p>${escaped(detail)}</p>
      <p><a class="primary" href="/console/">Back to the sign-in</a></p>
      <p class="help">Request <code>${escaped(requestId)}</code></p>
    </main>
  </body>
</html>
`;
}

/** Shows a refused sign-in as a page to browsers, and as a problem document to other clients. */
export function renderRefusal(error: AppError, request: FastifyRequest, reply: FastifyReply): void {
  if (request.headers.accept?.includes('text/html') !== true) {
    void reply.type('application/problem+json; charset=utf-8').send(JSON.stringify(problemOf(error, request.id)));
    return;
  }
  const title = error instanceof OidcError ? error.title : titleOf(error.status);
  void reply
    .headers(PAGE_HEADERS)
    .type('text/html; charset=utf-8')
    .send(pageOf(title, error.message, request.id));
}
