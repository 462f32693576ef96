import { JwtService } from '@nestjs/jwt';
import { generateKeyPairSync, verify } from 'node:crypto';
import { Es256JwtService } from './es256-jwt.service.ts';

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const options = {
  privateKey: privateKey as unknown as string,
  algorithm: 'ES256',
  header: { alg: 'ES256', typ: 'at+jwt', kid: 'k' },
} as const;

it('signs tokens that node:crypto and jsonwebtoken verify, however short r and s are', () => {
  const jwt = new Es256JwtService();
  // About one signature in 128 has an r or s that starts with a zero byte.
  for (let i = 0; i < 1500; i++) {
    const token = jwt.sign({ i, name: 'Ü' }, options);
    const [header = '', payload = '', signature = ''] = token.split('.');
    const bytes = Buffer.from(signature, 'base64url');
    expect(bytes).toHaveLength(64);
    const key = { key: publicKey, dsaEncoding: 'ieee-p1363' } as const;
    expect(verify('sha256', Buffer.from(`${header}.${payload}`), key, bytes)).toBe(true);
    if (i % 100 === 0) {
      const claims = new JwtService().verify<object>(token, { publicKey: publicKey as unknown as string });
      expect(claims).toEqual({ i, name: 'Ü' });
    }
  }
});

it('encodes each header that it is given', () => {
  const jwt = new Es256JwtService();
  const headerOf = (kid: string, typ: string): unknown => {
    const token = jwt.sign({}, { ...options, header: { alg: 'ES256', typ, kid } });
    return JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString());
  };
  for (const [kid, typ] of [
    ['a', 'at+jwt'],
    ['b', 'at+jwt'],
    ['b', 'staff+jwt'],
    ['a', 'at+jwt'],
  ] as const) {
    expect(headerOf(kid, typ)).toEqual({ alg: 'ES256', typ, kid });
  }
});

it('leaves everything else to jsonwebtoken', () => {
  const jwt = new Es256JwtService();
  const token = jwt.sign({ a: 1 }, { secret: 'secret', algorithm: 'HS256' });
  expect(new JwtService().verify<object>(token, { secret: 'secret' })).toMatchObject({ a: 1 });
});
