import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { type ClientMetadata, Provider } from 'oidc-provider';
import { accountNumbers, passwordOf, SCOPES, usernameOf } from '../accounts.ts';
import { listen } from './plain-http.ts';

/** oidc-provider with its in-memory adapter: client credentials in, a JWT access token signed ES256 out. */

const ISSUER = process.env['PUBLIC_URL'] ?? '';
const LIFE_SECONDS = 7200;
const scope = SCOPES.join(' ');
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });

const clients = accountNumbers(Number(process.env['ACCOUNTS'])).map((n): ClientMetadata => ({
  client_id: usernameOf(n),
  client_secret: passwordOf(n),
  grant_types: ['client_credentials'],
  response_types: [],
  redirect_uris: [],
  token_endpoint_auth_method: 'client_secret_post',
  scope,
}));

const provider = new Provider(ISSUER, {
  clients,
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig' }] },
  scopes: SCOPES,
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => ISSUER,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        audience: ISSUER,
        scope,
        accessTokenFormat: 'jwt',
        accessTokenTTL: LIFE_SECONDS,
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
});

const handle = provider.callback();
listen(createServer((request, response) => void handle(request, response)));
