import jwt, { type FastifyJWTOptions } from '@fastify/jwt';
import fastify from 'fastify';
import buildGetJwks from 'get-jwks';

/** A resource server on Fastify that verifies Latchkey's tokens as docs/resource-servers.md shows. */

interface Claims {
  readonly sub: string;
  readonly client_id: string;
  readonly scope: string;
}

const { ISSUER: issuer = '', JWKS_URI: jwksUri = '' } = process.env;
const jwks = buildGetJwks();
const domain = new URL(jwksUri).origin;

/** Its types know only the function of fast-jwt, which has one parameter. */
const publicKey = (_request: unknown, { header }: { header: { kid: string } }): Promise<string> =>
  jwks.getPublicKey({ domain, alg: 'ES256', kid: header.kid });

const app = fastify();
await app.register(jwt, {
  secret: publicKey as unknown as FastifyJWTOptions['secret'],
  verify: {
    algorithms: ['ES256'],
    checkTyp: 'at+jwt',
    allowedIss: issuer,
    allowedAud: issuer,
    requiredClaims: ['exp'],
  },
  decode: { complete: true },
});
app.get('/me', { onRequest: (request) => request.jwtVerify() }, ({ user }) => {
  const { sub, client_id, scope } = user as Claims;
  return { id: sub, username: client_id, scopes: scope.split(' ') };
});
const origin = await app.listen({ host: process.env['HOST'] ?? '', port: Number(process.env['PORT']) });
process.stdout.write(`Listening on ${origin}\n`);
process.on('SIGTERM', () => process.exit(0));
