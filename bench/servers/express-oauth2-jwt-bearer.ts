import express from 'express';
import { auth } from 'express-oauth2-jwt-bearer';
import { createServer } from 'node:http';
import { listen } from './plain-http.ts';

/** A resource server on Express that verifies Latchkey's tokens as docs/resource-servers.md shows. */

const { ISSUER: issuer = '', JWKS_URI: jwksUri = '' } = process.env;

const app = express();
app.get(
  '/me',
  auth({ issuer, audience: issuer, jwksUri, tokenSigningAlg: 'ES256', strict: true }),
  ({ auth: { payload: { sub, client_id, scope } = {} } = {} }, response) => {
    response.json({ id: sub, username: client_id, scopes: String(scope).split(' ') });
  },
);
listen(createServer(app));
