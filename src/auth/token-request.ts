import type { FastifyRequest } from 'fastify';
import { isCredentialText, parseForm } from '../common/form.ts';
import { hasBody, requireForm } from '../common/http.ts';
import type { HttpOptions } from '../common/request-context.ts';
import { SignInError } from './auth.errors.ts';

/** What `/generateToken` was given, checked. */
export interface PresentedCredentials {
  readonly username: string;
  readonly password: string;
  /** They came in the URL (`LEGACY_QUERY_CREDENTIALS`). */
  readonly fromQuery: boolean;
}

type Field = 'username' | 'password';
const FIELDS = new Map<string, Field>([
  ['Username', 'username'],
  ['username', 'username'],
  ['Password', 'password'],
  ['password', 'password'],
]);

type Fields = [Field, string | undefined][];

function credentialFields(bytes: Uint8Array): Fields {
  return parseForm(bytes).flatMap(([name, value]) => {
    const field = FIELDS.get(name);
    return field === undefined ? [] : [[field, value] as [Field, string | undefined]];
  });
}

function queryFields(request: FastifyRequest): Fields {
  const start = request.url.indexOf('?');
  return start === -1 ? [] : credentialFields(Buffer.from(request.url.slice(start + 1)));
}

/** Exactly one value of a field, that can be a username or password; anything else is malformed. */
function valueOf(fields: Fields, field: Field): string {
  const values = fields.filter(([name]) => name === field);
  const value = values[0]?.[1];
  if (values.length !== 1 || value === undefined || !isCredentialText(value)) {
    throw new SignInError('malformed_request');
  }
  return value;
}

/**
 * What can be refused before the body is read: credentials in the URL first, then the content type.
 *
 * @throws SignInError
 */
export function checkTokenRequest(request: FastifyRequest, { legacyQueryCredentials }: HttpOptions): void {
  if (queryFields(request).length === 0) {
    requireForm(request);
    return;
  }
  if (!legacyQueryCredentials) throw new SignInError('credentials_in_url');
  if (hasBody(request)) requireForm(request);
  // Clients name a type for the body that they do not have.
  else delete request.headers['content-type'];
}

/**
 * Reads the credentials of a request that passed {@link checkTokenRequest}.
 *
 * @throws SignInError `malformed_request`
 */
export function readCredentials(request: FastifyRequest): PresentedCredentials {
  const inQuery = queryFields(request);
  const inBody = Buffer.isBuffer(request.body) ? credentialFields(request.body) : [];
  if (inQuery.length > 0 && inBody.length > 0) throw new SignInError('malformed_request');
  const fields = [...inQuery, ...inBody];
  return {
    username: valueOf(fields, 'username'),
    password: valueOf(fields, 'password'),
    fromQuery: inQuery.length > 0,
  };
}
