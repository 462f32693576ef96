import { createPrivateKey, type KeyObject } from 'node:crypto';
import { type Role, ROLES } from '../common/principal.ts';
import { publicUrlProblem } from './public-url.ts';
import type { Parsed } from './setting-types.ts';
import type { SettingValues } from './settings.ts';

/** How Latchkey proves to the identity provider who it is. */
type OidcClientKey =
  { readonly kind: 'secret'; readonly secret: string } | { readonly kind: 'private-key'; readonly key: KeyObject };

/** The identity provider of staff. */
export interface StaffOidcConfig {
  readonly issuer: string;
  /** What people call the provider. */
  readonly name: string;
  readonly clientId: string;
  readonly clientKey: OidcClientKey;
  /** The role of each mapped group, by the group's id. */
  readonly roles: ReadonlyMap<string, Role>;
  readonly groupsClaim: string;
}

/** @returns the rest of a sentence that begins with the setting's name; nothing when the URL is usable */
export function issuerProblem(text: string): string | undefined {
  const problem = publicUrlProblem(text);
  return problem?.replace(/, expected one such as .*$/, ', expected the issuer of the identity provider');
}

/** @returns the rest of a sentence that begins with the setting's name; nothing when the URL is usable */
export function adminUrlProblem(text: string): string | undefined {
  const problem = publicUrlProblem(text);
  if (problem !== undefined) return problem;
  if (new URL(text).pathname === '/') return undefined;
  return `must have no path, since the console works only at the root of a host name: found ${JSON.stringify(text)}`;
}

/** Splits at the last `=`, since a group may have one. */
function entryOf(entry: string): { readonly group: string; readonly role: Role } | undefined {
  const equals = entry.lastIndexOf('=');
  const group = entry.slice(0, Math.max(0, equals)).trim();
  const role = ROLES.find((known) => known === entry.slice(equals + 1).trim());
  return equals < 1 || group === '' || !role ? undefined : { group: group.replaceAll(/%2C/gi, ','), role };
}

/** Reads `group=role` pairs, separated by commas. A comma in a group is written `%2C`. */
export function parseRoles(text: string): Parsed<ReadonlyMap<string, Role>> {
  const roles = new Map<string, Role>();
  for (const part of text.split(',')) {
    const entry = entryOf(part);
    if (!entry) return { problem: `must be a comma-separated list of group=role with a role of ${ROLES.join(', ')}` };
    if (roles.has(entry.group)) return { problem: 'must name each group once' };
    roles.set(entry.group, entry.role);
  }
  return { value: roles };
}

/** Keys with which `private_key_jwt` works, and their algorithms (RFC 7518 §3.1). */
export function signatureAlgorithmOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): string | undefined {
  if (asymmetricKeyType === 'rsa') return (asymmetricKeyDetails?.modulusLength ?? 0) >= 2048 ? 'RS256' : undefined;
  return asymmetricKeyType === 'ec' && asymmetricKeyDetails?.namedCurve === 'prime256v1' ? 'ES256' : undefined;
}

/** Reads a private key in PEM. In a variable, line breaks may be written `\n`. */
export function parsePrivateKey(text: string): Parsed<KeyObject> {
  try {
    const key = createPrivateKey(text.replaceAll('\\n', '\n'));
    if (signatureAlgorithmOf(key) !== undefined) return { value: key };
  } catch {
    // The reason may quote the key.
  }
  return { problem: 'must be a private key in PEM: RSA with at least 2048 bits, or EC with P-256' };
}

const OTHERS = [
  'STAFF_OIDC_CLIENT_ID',
  'STAFF_OIDC_CLIENT_SECRET',
  'STAFF_OIDC_PRIVATE_KEY',
  'STAFF_OIDC_ROLES',
  'STAFF_OIDC_NAME',
] as const;

/** Checks the rules between the settings of the identity provider. */
export function staffOidcProblems(values: SettingValues): string[] {
  if (values.STAFF_OIDC_ISSUER === undefined) {
    return OTHERS.filter((name) => values[name] !== undefined).map(
      (name) => `${name} is set, and STAFF_OIDC_ISSUER is not: set both, or neither`,
    );
  }
  const problems = (['STAFF_OIDC_CLIENT_ID', 'STAFF_OIDC_ROLES'] as const)
    .filter((name) => values[name] === undefined)
    .map((name) => `${name} is required with STAFF_OIDC_ISSUER`);
  const { STAFF_OIDC_CLIENT_SECRET: secret, STAFF_OIDC_PRIVATE_KEY: key } = values;
  if ((secret === undefined) === (key === undefined)) {
    problems.push('STAFF_OIDC_CLIENT_SECRET or STAFF_OIDC_PRIVATE_KEY is required with STAFF_OIDC_ISSUER, not both');
  }
  if (
    values.ADMIN_URL === undefined &&
    values.PUBLIC_URL !== undefined &&
    new URL(values.PUBLIC_URL).pathname !== '/'
  ) {
    problems.push('ADMIN_URL is required with STAFF_OIDC_ISSUER, because PUBLIC_URL has a path');
  }
  return problems;
}

/** @param values settings without {@link staffOidcProblems} */
export function staffOidcOf(values: SettingValues): StaffOidcConfig | undefined {
  const { STAFF_OIDC_ISSUER: issuer, STAFF_OIDC_CLIENT_ID: clientId, STAFF_OIDC_ROLES: roles } = values;
  const { STAFF_OIDC_CLIENT_SECRET: secret, STAFF_OIDC_PRIVATE_KEY: key } = values;
  if (issuer === undefined || clientId === undefined || roles === undefined) return undefined;
  const clientKey: OidcClientKey | undefined = key
    ? { kind: 'private-key', key }
    : secret === undefined
      ? undefined
      : { kind: 'secret', secret };
  if (!clientKey) return undefined;
  const name = values.STAFF_OIDC_NAME ?? new URL(issuer).host;
  return { issuer, name, clientId, clientKey, roles, groupsClaim: values.STAFF_OIDC_GROUPS_CLAIM };
}
