import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import {
  CLIENT_SECRET,
  PARTNER_TOKEN,
  SERVICE_ACCOUNT_KEY,
  STAFF_COOKIE,
  STAFF_TOKEN,
} from '../platform/api/openapi.decorators.ts';
import { AppError } from '../platform/common/errors.ts';
import { apiOfRoute } from '../platform/http/route-api.ts';

const DESCRIPTION = `Latchkey gives connectivity partners their credentials and their bearer tokens.

Partners: post \`Username\` and \`Password\` to \`/generateToken\`, then send the response as \`Authorization: Bearer …\`.
Staff: sign in at \`/admin/session\`, then provision partners at \`/admin/channel-users\`. Scripts do so with the key of a
service account, which an admin creates at \`/admin/service-accounts\`.

Errors are \`application/problem+json\` (RFC 9457), except on \`/generateToken\` and \`/oauth2/*\`.`;

/**
 * Describes every route of the application.
 *
 * @param nest the application, which may have been built with `preview`
 */
export function buildOpenApi(nest: INestApplication): OpenAPIObject {
  const config = new DocumentBuilder()
    .setTitle('Latchkey')
    .setDescription(DESCRIPTION)
    .setVersion('1')
    .setLicense('MIT', 'https://spdx.org/licenses/MIT.html')
    .addServer('/', 'This server')
    .addTag('Tokens', 'For partners: obtain a token and look up its owner.')
    .addTag('Own account', 'For partners: your sign-ins, your calls and what went wrong with them.')
    .addTag('Hand-over', 'For partners: reveal a new password behind a one-time link.')
    .addTag('OAuth 2.0', 'For OAuth clients and resource servers: the standard endpoints.')
    .addTag('Session', 'For staff: sign in and out.')
    .addTag('Channel users', 'For staff: provision partners and rotate their credentials.')
    .addTag('Overview', 'For staff: the state of all partners in numbers.')
    .addTag('Signing keys', 'For admins: the keys that sign tokens.')
    .addTag('Staff', 'For admins: staff accounts.')
    .addTag('Service accounts', 'For admins: the identities of scripts.')
    .addTag('Audit', 'For staff: who changed what, and when.')
    .addBearerAuth({ type: 'http', scheme: 'bearer', bearerFormat: 'JWT' }, PARTNER_TOKEN)
    .addBearerAuth({ type: 'http', scheme: 'bearer', bearerFormat: 'JWT' }, STAFF_TOKEN)
    .addBearerAuth(
      {
        type: 'http',
        scheme: 'bearer',
        bearerFormat: 'lk_sa_<id>_<secret>_<checksum>',
        description: 'The key of a service account. Routes without this scheme are for people only.',
      },
      SERVICE_ACCOUNT_KEY,
    )
    .addBasicAuth({ type: 'http', scheme: 'basic' }, CLIENT_SECRET)
    .addCookieAuth('latchkey_session_3000', { type: 'apiKey', in: 'cookie' }, STAFF_COOKIE)
    .build();
  return SwaggerModule.createDocument(nest, config);
}

/** The names of the schemas to which a part of the document refers, directly or through other schemas. */
function schemasOf(part: unknown, document: OpenAPIObject, found = new Set<string>()): Set<string> {
  for (const [, name = ''] of JSON.stringify(part).matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
    if (found.has(name)) continue;
    found.add(name);
    schemasOf(document.components?.schemas?.[name] ?? {}, document, found);
  }
  return found;
}

/** The document for one kind of reader, with some of the paths and only what these use. */
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

const isForStaff = (path: string): boolean => apiOfRoute(path) === 'staff';

const PAGE = { swaggerOptions: { defaultModelsExpandDepth: -1 }, customCss: '.topbar { display: none }' };

/** The files of the swagger-ui package that its page loads. */
const FILES = new Set([
  'swagger-ui.css',
  'swagger-ui-bundle.js',
  'swagger-ui-standalone-preset.js',
  'favicon-16x16.png',
  'favicon-32x32.png',
]);

/** Hides the other files of the package, such as its `package.json`. */
function refuseOtherFiles({ params }: FastifyRequest): void {
  if (!FILES.has((params as Record<string, string>)['*'] ?? '')) {
    throw new AppError({ status: 404, code: 'route.not-found', detail: 'There is nothing at this path.' });
  }
}

/** Serves the reference: the partner API at `/docs`, the staff API at `/docs/admin`. */
export function serveReference(nest: INestApplication): void {
  const fastify = nest.getHttpAdapter().getInstance() as FastifyInstance;
  fastify.addHook('onRoute', ({ url, config }) => {
    if (config && url.startsWith('/docs/') && url.endsWith('*')) config.beforeBody = refuseOtherFiles;
  });
  let document: OpenAPIObject | undefined;
  // The document is built when somebody first reads it, which keeps the start short.
  const whole = (): OpenAPIObject => (document ??= buildOpenApi(nest));
  SwaggerModule.setup('docs/admin', nest, () => onlyPaths(whole(), isForStaff), {
    customSiteTitle: 'Latchkey for staff',
    jsonDocumentUrl: 'docs/admin/openapi.json',
    raw: ['json'],
    ...PAGE,
  });
  SwaggerModule.setup('docs', nest, () => onlyPaths(whole(), (path) => !isForStaff(path)), {
    customSiteTitle: 'Latchkey for partners',
    jsonDocumentUrl: 'docs/openapi.json',
    raw: ['json'],
    ...PAGE,
  });
}
