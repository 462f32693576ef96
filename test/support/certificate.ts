import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { give } from './foreign-process.ts';

/** Makes a self-signed certificate that is valid for a day. @returns the files of the key and the certificate */
export async function selfSigned(folder: string): Promise<[key: string, certificate: string]> {
  const [key, certificate] = ['tls.key', 'tls.crt'].map((name) => path.join(folder, name)) as [string, string];
  const names = ['-subj', '/CN=latchkey.example', '-addext', 'subjectAltName=DNS:latchkey.example,IP:127.0.0.1'];
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'];
  await promisify(execFile)('openssl', ['req', ...kind, ...names, '-keyout', key, '-out', certificate]);
  await Promise.all([key, certificate].map(give));
  return [key, certificate];
}
