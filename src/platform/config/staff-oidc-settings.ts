import { checked, matching, password } from './setting-types.ts';
import type { Setting } from './settings.ts';
import { issuerProblem, parsePrivateKey, parseRoles } from './staff-oidc.ts';

/** The settings of the identity provider of staff. */
export const STAFF_OIDC_SETTINGS = {
  STAFF_OIDC_ISSUER: {
    type: { ...checked(issuerProblem), quotes: true },
    absent: 'staff sign in with passwords',
    description:
      'The issuer of the identity provider (OpenID Connect) with which staff sign in, exactly as its discovery ' +
      'document has it; https in production. See docs/deploying.md, Single sign-on.',
    example: 'https://login.company.example',
    secret: false,
  },
  STAFF_OIDC_NAME: {
    type: matching(/^\P{Cc}{1,40}$/u, 'must be 1 to 40 characters'),
    absent: 'the host of `STAFF_OIDC_ISSUER`',
    description: 'What staff call the identity provider: the console shows "Sign in with …".',
    example: 'Company Login',
    secret: false,
  },
  STAFF_OIDC_CLIENT_ID: {
    type: matching(/^[\x20-\x7e]{1,255}$/, 'must be 1 to 255 printable ASCII characters'),
    absent: 'none; required with `STAFF_OIDC_ISSUER`',
    description: 'The client id that the identity provider gave Latchkey.',
    example: 'latchkey',
    secret: false,
  },
  STAFF_OIDC_CLIENT_SECRET: {
    type: password,
    absent: 'none; this or `STAFF_OIDC_PRIVATE_KEY` is required with `STAFF_OIDC_ISSUER`',
    description: 'The client secret that the identity provider gave Latchkey.',
    example: 'change-me',
    secret: true,
  },
  STAFF_OIDC_PRIVATE_KEY: {
    type: { parse: parsePrivateKey },
    absent: 'none',
    description:
      'Instead of a client secret: the private key (PEM, RSA or EC P-256) with which Latchkey signs in at ' +
      'the identity provider (`private_key_jwt`). The provider has its public key.',
    example:
      '-----BEGIN PRIVATE KEY-----\\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAAAAAAAAAAAAAA' +
      'AA\\nAAAAAAAAAAAAAAAAAAAAAAAAAAGhRANCAARrF9Hy4SxCR/i85uVjpEDydwN9gS3r\\nM6D0oTlF2JjClk/jQuL+Gn+bjufrSnwPnhYrzjNXazFezsu2QGg3v1H1\\n-----END PRIVATE KEY-----',
    secret: true,
  },
  STAFF_OIDC_ROLES: {
    type: { parse: parseRoles },
    absent: 'none; required with `STAFF_OIDC_ISSUER`',
    description:
      'Which groups of the identity provider have which role, as `group=role`, comma-separated. A group is named by ' +
      'its id, as it stands in the claim; a comma in it is `%2C`. Of several mapped groups the highest role counts. ' +
      'Whoever is in none of them cannot sign in.',
    example: '7f0c1d7e-latchkey-admins=admin,latchkey-support=operator',
    secret: false,
  },
  STAFF_OIDC_GROUPS_CLAIM: {
    type: matching(/^[\x21-\x7e]{1,255}$/, 'must be 1 to 255 characters without spaces'),
    default: 'groups',
    description: 'The claim with the groups of a person, in the ID token or from the UserInfo endpoint.',
    example: 'roles',
    secret: false,
  },
} as const satisfies Record<string, Setting>;
