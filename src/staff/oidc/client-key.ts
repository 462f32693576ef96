import { importPKCS8 } from 'jose';
import type { KeyObject } from 'node:crypto';
import type { CryptoKey } from 'openid-client';
import { signatureAlgorithmOf } from '../../platform/config/staff-oidc.ts';

/** The key in the form of Web Crypto, with which openid-client signs. */
export function webKeyOf(key: KeyObject): Promise<CryptoKey> {
  const pem = key.export({ type: 'pkcs8', format: 'pem' }).toString();
  return importPKCS8(pem, signatureAlgorithmOf(key) ?? '');
}
