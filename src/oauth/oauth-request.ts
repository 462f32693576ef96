import type { FastifyRequest } from 'fastify';
import type { PresentedCredentials } from '../auth/sign-in.service.ts';
import { decodeFormValue, isCredentialText, parseForm } from '../common/form.ts';
import { requireForm } from '../common/http.ts';
import { OAuthError } from './oauth.errors.ts';

/** The parameters of a request to one of the OAuth endpoints; those without a value count as absent (RFC 6749 §3.2). */
export type Parameters = ReadonlyMap<string, string>;

const COLON = 0x3a;
/** Twice the longest username and password, encoded. */
const MAX_BASIC_LENGTH = 8_192;
const BASIC = 'basic ';

/**
 * What can be refused before the body is read.
 *
 * @throws AppError 415, which the endpoint answers as `invalid_request`; OAuthError
 */
export function checkOAuthRequest(request: FastifyRequest): void {
  requireForm(request);
  // URLs end up in logs (RFC 6749 §2.3.1).
  if (request.url.includes('?')) throw new OAuthError('invalid_request', 'Parameters belong in the body.');
}

/** @throws OAuthError `invalid_request` for a repeated parameter (RFC 6749 §3.2) and for what is not UTF-8 */
export function readParameters(request: FastifyRequest): Parameters {
  const parameters = new Map<string, string>();
  const seen = new Set<string>();
  for (const [name, value] of Buffer.isBuffer(request.body) ? parseForm(request.body) : []) {
    if (seen.has(name)) throw new OAuthError('invalid_request', 'A parameter is repeated.');
    seen.add(name);
    if (value === undefined) throw new OAuthError('invalid_request', 'A parameter is not UTF-8.');
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
 * Reads how the client authenticates: `client_secret_basic` or `client_secret_post`, one of them.
 *
 * @throws OAuthError `invalid_client` when it does not, `invalid_request` when it does so twice
 */
export function readClientCredentials(request: FastifyRequest, parameters: Parameters): PresentedCredentials {
  const { authorization } = request.headers;
  const inBody = parameters.get('client_secret');
  const id = parameters.get('client_id');
  if (authorization !== undefined && inBody !== undefined) {
    throw new OAuthError('invalid_request', 'The client authenticates in two ways at once.');
  }
  const presented =
    authorization === undefined
      ? id !== undefined && inBody !== undefined && ([id, inBody] as const)
      : authorization.slice(0, BASIC.length).toLowerCase() === BASIC && basicCredentials(authorization);
  if (!presented) {
    throw new OAuthError('invalid_client', 'Authenticate with HTTP Basic, or with client_id and client_secret.');
  }
  const [username, password] = presented;
  if (!isCredentialText(username) || !isCredentialText(password)) {
    throw new OAuthError('invalid_client', 'These cannot be the credentials of a client.');
  }
  if (authorization !== undefined && id !== undefined && id !== username) {
    throw new OAuthError('invalid_request', 'The client_id is not the one that authenticates.');
  }
  return { username, password, fromQuery: false };
}

const SCOPE_TOKEN = /^[\x21\x23-\x5b\x5d-\x7e]+$/;

/**
 * The scopes that are asked for (RFC 6749 §3.3).
 *
 * @returns nothing when the client leaves it to the server
 */
export function readScopes(parameters: Parameters): string[] | undefined {
  const scope = parameters.get('scope');
  if (scope === undefined) return undefined;
  const scopes = scope.split(' ');
  // What is no scope cannot have been granted: the sign-in refuses it, after the credentials.
  return scopes.every((each) => SCOPE_TOKEN.test(each)) ? [...new Set(scopes)] : [''];
}
