import type { FastifyRequest } from 'fastify';
import { faultOfCredentialText, parseForm } from '../../platform/http/form-body.ts';
import { hasBody, requireForm } from '../../platform/http/body-types.ts';
import type { HttpOptions } from '../../platform/http/fastify-types.ts';
import { SignInError } from './sign-in.errors.ts';

/** A well-formed username and password. */
export interface PresentedCredentials {
  readonly username: string;
  readonly password: string;
  /** Whether they came in the URL, as `LEGACY_QUERY_CREDENTIALS` allows. */
  readonly fromQuery: boolean;
}

/** Names the software that requests a token. Only the partner's page sets it. */
const CLIENT_HEADER = 'latchkey-client';
export const PARTNER_PAGE = 'partner-page';

/**
 * Whether a person signs in on the partner's page. Such a sign-in does not count as the first use of a pending
 * credential, since the partner's software may still have the old one, and its token has no scopes.
 */
export const isPartnerPage = ({ headers }: FastifyRequest): boolean => headers[CLIENT_HEADER] === PARTNER_PAGE;

type Field = 'username' | 'password';
const FIELDS = new Map<string, Field>([
  ['Username', 'username'],
  ['username', 'username'],
  ['Password', 'password'],
  ['password', 'password'],
]);

type Fields = [Field, string | undefined][];

declare module 'fastify' {
  interface FastifyRequest {
    /** The credentials in the URL, if any, as {@link checkTokenRequest} read them. */
    fieldsInUrl?: Fields;
  }
}

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

const NAMES: Record<Field, string> = { username: 'Username', password: 'Password' };

/** The only value of a field. Throws if there is none or more than one, or if it can be no username or password. */
function valueOf(fields: Fields, field: Field): string {
  const malformed = (fault: string): SignInError =>
    new SignInError('malformed_request', {}, `The field ${NAMES[field]} ${fault}.`);
  const values = fields.filter(([name]) => name === field);
  if (values.length === 0) throw malformed('is missing');
  if (values.length > 1) throw malformed('is repeated');
  const value = values[0]?.[1];
  if (value === undefined) throw malformed('is not valid UTF-8');
  const fault = faultOfCredentialText(value);
  if (fault !== undefined) throw malformed(fault);
  return value;
}

/**
 * Checks a request before its body is read: first for credentials in the URL, then for its content type.
 *
 * @throws SignInError
 */
export function checkTokenRequest(request: FastifyRequest, { legacyQueryCredentials }: HttpOptions): void {
  const inUrl = queryFields(request);
  if (inUrl.length === 0) {
    requireForm(request);
    return;
  }
  if (!legacyQueryCredentials) {
    throw new SignInError('credentials_in_url', {}, 'Send Username and Password in the body, not in the URL.');
  }
  request.fieldsInUrl = inUrl;
  if (hasBody(request)) requireForm(request);
  // Some clients send a content type without a body.
  else delete request.headers['content-type'];
}

/**
 * Reads the credentials of a request that passed {@link checkTokenRequest}.
 *
 * @throws SignInError `malformed_request`
 */
export function readCredentials(request: FastifyRequest): PresentedCredentials {
  const inQuery = request.fieldsInUrl ?? [];
  const inBody = Buffer.isBuffer(request.body) ? credentialFields(request.body) : [];
  if (inQuery.length > 0 && inBody.length > 0) {
    throw new SignInError(
      'malformed_request',
      {},
      'Send Username and Password either in the body or in the URL, not in both.',
    );
  }
  const fields = [...inQuery, ...inBody];
  return {
    username: valueOf(fields, 'username'),
    password: valueOf(fields, 'password'),
    fromQuery: inQuery.length > 0,
  };
}
