import type { FastifyRequest } from 'fastify';
import type { PresentedCredentials } from '../sign-in/token-request.ts';
import { decodeFormValue, isCredentialText, parseForm } from '../../platform/http/form-body.ts';
import { requireForm } from '../../platform/http/body-types.ts';
import { OAuthError } from './oauth.errors.ts';

/** The parameters of an OAuth request. Parameters without a value count as absent (RFC 6749 §3.2). */
export type Parameters = ReadonlyMap<string, string>;

const COLON = 0x3a;
/** Characters of base64 in a Basic header: about twice what the longest valid username and password take. */
const MAX_BASIC_LENGTH = 8_192;
const BASIC = 'basic ';

/**
 * Checks the content type and the URL, before the body is read.
 *
 * @throws AppError 415, which the endpoint answers as `invalid_request`
 * @throws OAuthError `invalid_request` for parameters in the URL
 */
export function checkOAuthRequest(request: FastifyRequest): void {
  requireForm(request);
  // URLs end up in logs, so credentials must not be in them (RFC 6749 §2.3.1).
  if (request.url.includes('?'))
    throw new OAuthError('invalid_request', 'Send parameters in the body, not in the URL.');
}

/** @throws OAuthError `invalid_request` for a repeated parameter (RFC 6749 §3.2) and for one that is not UTF-8 */
export function readParameters(request: FastifyRequest): Parameters {
  const parameters = new Map<string, string>();
  const seen = new Set<string>();
  for (const [name, value] of Buffer.isBuffer(request.body) ? parseForm(request.body) : []) {
    if (seen.has(name)) throw new OAuthError('invalid_request', 'A parameter is repeated. Send each parameter once.');
    seen.add(name);
    if (value === undefined) throw new OAuthError('invalid_request', 'A parameter is not valid UTF-8.');
    if (value !== '') parameters.set(name, value);
  }
  return parameters;
}

/** @throws OAuthError `invalid_request` */
export function requiredParameter(parameters: Parameters, name: string): string {
  const value = parameters.get(name);
  if (value === undefined) throw new OAuthError('invalid_request', `The parameter ${name} is missing.`);
  return value;
}

/** Username and password of an `Authorization: Basic` header, each form-encoded (RFC 6749 §2.3.1). */
function basicCredentials(authorization: string): [string, string] | undefined {
  const encoded = authorization.slice(BASIC.length).trim();
  if (encoded.length > MAX_BASIC_LENGTH || !/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return undefined;
  const bytes = Buffer.from(encoded, 'base64');
  const colon = bytes.indexOf(COLON);
  if (colon === -1) return undefined;
  const username = decodeFormValue(bytes.subarray(0, colon));
  const password = decodeFormValue(bytes.subarray(colon + 1));
  return username === undefined || password === undefined ? undefined : [username, password];
}

/**
 * Reads the client's credentials, sent by `client_secret_basic` or `client_secret_post`, but not by both.
 *
 * @throws OAuthError `invalid_client` when there are none, `invalid_request` when there are two
 */
export function readClientCredentials(request: FastifyRequest, parameters: Parameters): PresentedCredentials {
  const inBody = parameters.get('client_secret');
  const header = request.headers.authorization;
  const isBasic = header?.slice(0, BASIC.length).toLowerCase() === BASIC;
  const authorization = isBasic || inBody === undefined ? header : undefined;
  const id = parameters.get('client_id');
  if (authorization !== undefined && inBody !== undefined) {
    throw new OAuthError(
      'invalid_request',
      'The request has two sets of client credentials. Send either HTTP Basic or client_secret, not both.',
    );
  }
  const presented =
    authorization === undefined
      ? id !== undefined && inBody !== undefined && ([id, inBody] as const)
      : isBasic && basicCredentials(authorization);
  if (!presented) {
    throw new OAuthError('invalid_client', 'Authenticate with HTTP Basic, or with client_id and client_secret.');
  }
  const [username, password] = presented;
  if (!isCredentialText(username) || !isCredentialText(password)) {
    throw new OAuthError(
      'invalid_client',
      'The client credentials are malformed. Each has 1 to 256 characters without control characters.',
    );
  }
  if (authorization !== undefined && id !== undefined && id !== username) {
    throw new OAuthError('invalid_request', 'The client_id differs from the username in the Authorization header.');
  }
  return { username, password, fromQuery: false };
}

const SCOPE_TOKEN = /^[\x21\x23-\x5b\x5d-\x7e]+$/;

/**
 * Reads the requested scopes (RFC 6749 §3.3).
 *
 * @returns nothing when the client requests no particular scopes
 */
export function readScopes(parameters: Parameters): string[] | undefined {
  const scope = parameters.get('scope');
  if (scope === undefined) return undefined;
  // Some clients join lists that have empty entries, which makes double spaces.
  const scopes = scope.split(' ').filter((each) => each !== '');
  if (scopes.length === 0) return undefined;
  // A malformed scope becomes the empty one, which no account has. The sign-in refuses it after it has checked the
  // credentials.
  return scopes.every((each) => SCOPE_TOKEN.test(each)) ? [...new Set(scopes)] : [''];
}
