import { createHash, generateKeyPairSync, randomUUID, sign, timingSafeEqual, verify } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { passwordOf, SCOPES, usernameOf } from '../accounts.ts';
import { listen, readForm } from './plain-http.ts';

/**
 * The least that can be done for a signed answer: no framework, no database, no limiter, no log, every account in a
 * Map. Its tokens have the claims of Latchkey's.
 */

interface Account {
  id: string;
  username: string;
  displayName: string;
  credentialId: string;
  passwordDigest: Buffer;
}

interface Claims {
  sub: string;
  client_id: string;
  cid: string;
  scope: string;
  iat: number;
  exp: number;
  jti: string;
}

const ISSUER = process.env['PUBLIC_URL'] ?? '';
const LIFE_SECONDS = 7200;
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const verificationKey = { key: publicKey, dsaEncoding: 'ieee-p1363' } as const;
const kid = createHash('sha256')
  .update(JSON.stringify(publicKey.export({ format: 'jwk' })))
  .digest('base64url');
/** The bytes of each of the two numbers of an ES256 signature. */
const NUMBER_BYTES = 32;

/**
 * Signs as JwtService does: with the key alone. Options beside it make Node import the key again for each signature,
 * which takes as long as the signature itself. OpenSSL then answers DER, which has to be taken apart (RFC 7518 §3.4).
 */
function signatureOf(data: string): string {
  const der = sign('sha256', Buffer.from(data), privateKey);
  const signature = Buffer.alloc(2 * NUMBER_BYTES);
  let at = 3;
  for (let end = NUMBER_BYTES; end <= signature.length; end += NUMBER_BYTES) {
    const length = der[at] ?? 0;
    // Without the zero that keeps a number positive, and at the right end of its place.
    const start = at + 1 + Math.max(0, length - NUMBER_BYTES);
    der.copy(signature, end - Math.min(length, NUMBER_BYTES), start, at + 1 + length);
    at += length + 2;
  }
  return signature.toString('base64url');
}

const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const HEADER = encode({ alg: 'ES256', typ: 'at+jwt', kid });

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest();

const accounts = new Map<string, Account>();
for (let n = 1; n <= Number(process.env['ACCOUNTS']); n += 1) {
  accounts.set(usernameOf(n), {
    id: randomUUID(),
    username: usernameOf(n),
    displayName: `Partner ${String(n)}`,
    credentialId: randomUUID(),
    passwordDigest: sha256(passwordOf(n)),
  });
}

/** Tokens that verified once. */
const verified = new Map<string, Claims>();

function issue(account: Account): string {
  const iat = Math.floor(Date.now() / 1000);
  const payload = encode({
    iss: ISSUER,
    aud: ISSUER,
    sub: account.id,
    client_id: account.username,
    cid: account.credentialId,
    epoch: 0,
    scope: SCOPES.join(' '),
    iat,
    exp: iat + LIFE_SECONDS,
    jti: randomUUID(),
  });
  const signed = `${HEADER}.${payload}`;
  return `${signed}.${signatureOf(signed)}`;
}

function claimsOf(token: string): Claims | undefined {
  let claims = verified.get(token);
  if (!claims) {
    const end = token.lastIndexOf('.');
    const signature = Buffer.from(token.slice(end + 1), 'base64url');
    if (!verify('sha256', Buffer.from(token.slice(0, end)), verificationKey, signature)) return undefined;
    claims = JSON.parse(Buffer.from(token.slice(HEADER.length + 1, end), 'base64url').toString()) as Claims;
    verified.set(token, claims);
  }
  return claims.exp > Math.floor(Date.now() / 1000) ? claims : undefined;
}

function answer(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
  response.end(body);
}

async function generateToken(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const form = await readForm(request);
  const account = accounts.get(form.get('Username')?.toLowerCase() ?? '');
  const matches = account && timingSafeEqual(sha256(form.get('Password') ?? ''), account.passwordDigest);
  if (matches) answer(response, 200, 'text/plain; charset=utf-8', issue(account));
  else answer(response, 401, 'text/plain; charset=utf-8', 'invalid username or password');
}

function me(request: IncomingMessage, response: ServerResponse): void {
  const { authorization = '' } = request.headers;
  const claims = authorization.startsWith('Bearer ') ? claimsOf(authorization.slice('Bearer '.length)) : undefined;
  const account = claims && accounts.get(claims.client_id);
  if (!claims || !account) {
    answer(response, 401, 'application/json; charset=utf-8', '{}');
    return;
  }
  const body = JSON.stringify({
    id: account.id,
    username: account.username,
    displayName: account.displayName,
    status: 'active',
    scopes: claims.scope.split(' '),
    token: {
      id: claims.jti,
      issuedAt: new Date(claims.iat * 1000).toISOString(),
      expiresAt: new Date(claims.exp * 1000).toISOString(),
    },
    credential: { id: account.credentialId, label: 'bench', expiresAt: null },
  });
  answer(response, 200, 'application/json; charset=utf-8', body);
}

const server = createServer((request, response) => {
  if (request.method === 'POST' && request.url === '/generateToken') void generateToken(request, response);
  else if (request.method === 'GET' && request.url === '/me') me(request, response);
  else answer(response, 404, 'application/json; charset=utf-8', '{}');
});

listen(server);
