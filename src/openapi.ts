import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { CLIENT_SECRET, PARTNER_TOKEN, STAFF_COOKIE, STAFF_TOKEN } from './common/api.ts';

const DESCRIPTION = `Latchkey gives connectivity partners their credentials and their bearer tokens.

Partners: post \`Username\` and \`Password\` to \`/generateToken\`, send the answer as \`Authorization: Bearer …\`.
Staff: sign in at \`/admin/session\`, provision partners at \`/admin/channel-users\`.

Errors are \`application/problem+json\` (RFC 9457) everywhere but on \`/generateToken\` and \`/oauth2/*\`.`;

/**
 * Describes every route of the application.
 *
 * @param nest the application; one built with `preview` will do
 */
export function buildOpenApi(nest: INestApplication): OpenAPIObject {
  const config = new DocumentBuilder()
    .setTitle('Latchkey')
    .setDescription(DESCRIPTION)
    .setVersion('1')
    .setLicense('MIT', 'https://spdx.org/licenses/MIT.html')
    .addServer('/', 'This server')
    .addTag('Tokens', 'For partners: obtain a token and see whose it is.')
    .addTag('Hand-over', 'For partners: the link that shows a new password once.')
    .addTag('OAuth 2.0', 'For OAuth clients and resource servers: the standard endpoints.')
    .addTag('Session', 'For staff: sign in and out.')
    .addTag('Channel users', 'For staff: provision partners and rotate their credentials.')
    .addTag('Overview', 'For staff: how the partners are, in numbers.')
    .addTag('Signing keys', 'For admins: the keys that sign tokens.')
    .addTag('Staff', 'For admins: the people who provision.')
    .addTag('Audit', 'For staff: who changed what.')
    .addBearerAuth({ type: 'http', scheme: 'bearer', bearerFormat: 'JWT' }, PARTNER_TOKEN)
    .addBearerAuth({ type: 'http', scheme: 'bearer', bearerFormat: 'JWT' }, STAFF_TOKEN)
    .addBasicAuth({ type: 'http', scheme: 'basic' }, CLIENT_SECRET)
    .addCookieAuth('latchkey_session_3000', { type: 'apiKey', in: 'cookie' }, STAFF_COOKIE)
    .build();
  return SwaggerModule.createDocument(nest, config);
}

const isStaffPath = (path: string): boolean => path.startsWith('/admin/');

/** The names of the schemas that a part of the document refers to, and those that these refer to. */
function schemasOf(part: unknown, document: OpenAPIObject, found = new Set<string>()): Set<string> {
  for (const [, name = ''] of JSON.stringify(part).matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
    if (found.has(name)) continue;
    found.add(name);
    schemasOf(document.components?.schemas?.[name] ?? {}, document, found);
  }
  return found;
}

/** The part of the document for one reader: paths, and of everything else only what they use. */
function onlyPaths(document: OpenAPIObject, keep: (path: string) => boolean): OpenAPIObject {
  const paths = Object.fromEntries(Object.entries(document.paths).filter(([path]) => keep(path)));
  const schemas = schemasOf(paths, document);
  const text = JSON.stringify(paths);
  const { components = {}, tags = [] } = document;
  return {
    ...document,
    paths,
    tags: tags.filter(({ name }) => text.includes(`"tags":["${name}"]`)),
    components: {
      schemas: Object.fromEntries(Object.entries(components.schemas ?? {}).filter(([name]) => schemas.has(name))),
      securitySchemes: Object.fromEntries(
        Object.entries(components.securitySchemes ?? {}).filter(([name]) => text.includes(`{"${name}":[]}`)),
      ),
    },
  };
}

const PAGE = { swaggerOptions: { defaultModelsExpandDepth: -1 }, customCss: '.topbar { display: none }' };

/** Serves the reference: the partner plane at `/docs`, the staff plane at `/docs/admin`. */
export function serveReference(nest: INestApplication): void {
  let document: OpenAPIObject | undefined;
  // Built when somebody reads it, not at each start.
  const whole = (): OpenAPIObject => (document ??= buildOpenApi(nest));
  SwaggerModule.setup('docs/admin', nest, () => onlyPaths(whole(), isStaffPath), {
    customSiteTitle: 'Latchkey for staff',
    jsonDocumentUrl: 'docs/admin/openapi.json',
    raw: ['json'],
    ...PAGE,
  });
  SwaggerModule.setup('docs', nest, () => onlyPaths(whole(), (path) => !isStaffPath(path)), {
    customSiteTitle: 'Latchkey for partners',
    jsonDocumentUrl: 'docs/openapi.json',
    raw: ['json'],
    ...PAGE,
  });
}
