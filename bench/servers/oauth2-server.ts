import OAuth2Server from '@node-oauth/oauth2-server';
import jwt from 'jsonwebtoken';
import { createHash, generateKeyPairSync, randomUUID, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { accountNumbers, passwordOf, usernameOf } from '../accounts.ts';
import { listen, readForm } from './plain-http.ts';

/**
 * @node-oauth/oauth2-server with its model in memory: client credentials in, a JWT access token signed ES256 out. The
 * library leaves the model, with signing and the comparison of secrets, to its user.
 */

const ISSUER = process.env['PUBLIC_URL'] ?? '';
const LIFE_SECONDS = 7200;
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest();
const secrets = new Map(
  accountNumbers(Number(process.env['ACCOUNTS'])).map((n) => [usernameOf(n), sha256(passwordOf(n))]),
);

const model: OAuth2Server.ClientCredentialsModel = {
  getClient: (clientId, clientSecret) => {
    const secret = secrets.get(clientId);
    const matches = secret && timingSafeEqual(sha256(clientSecret), secret);
    return Promise.resolve(matches ? { id: clientId, grants: ['client_credentials'] } : false);
  },
  getUserFromClient: ({ id }) => Promise.resolve({ id }),
  validateScope: (_user, _client, scope) => Promise.resolve(scope),
  generateAccessToken: ({ id }, _user, scope) =>
    Promise.resolve(
      jwt.sign({ client_id: id, scope: scope.join(' '), jti: randomUUID() }, privateKey, {
        algorithm: 'ES256',
        issuer: ISSUER,
        audience: ISSUER,
        subject: id,
        expiresIn: LIFE_SECONDS,
        header: { alg: 'ES256', typ: 'at+jwt' },
      }),
    ),
  saveToken: (token, client, user) => Promise.resolve({ ...token, client, user }),
  getAccessToken: () => Promise.resolve(undefined),
  verifyScope: () => Promise.resolve(true),
};
const oauth = new OAuth2Server({ model, accessTokenLifetime: LIFE_SECONDS });

async function token(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const { headers, method = '' } = incoming;
  const body = Object.fromEntries(await readForm(incoming));
  const request = new OAuth2Server.Request({ headers: headers as Record<string, string>, method, query: {}, body });
  const response = new OAuth2Server.Response();
  await oauth.token(request, response).catch(() => undefined);
  const text = JSON.stringify(response.body);
  outgoing
    .writeHead(response.status ?? 500, { ...response.headers, 'content-type': 'application/json; charset=utf-8' })
    .end(text);
}

listen(createServer((request, response) => void token(request, response)));
