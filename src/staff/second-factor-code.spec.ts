import {
  generateRecoveryCodes,
  generateTotpSecret,
  recoveryCodeHash,
  totpDigits,
  totpStepOf,
  totpUri,
} from './second-factor-code.ts';

/** RFC 6238 appendix B: the ASCII string 12345678901234567890. */
const SECRET = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ';

describe('a TOTP code', () => {
  it.each([
    [59, '287082'],
    [1_111_111_109, '081804'],
    [1_111_111_111, '050471'],
    [1_234_567_890, '005924'],
    [2_000_000_000, '279037'],
    [20_000_000_000, '353130'],
  ])('of RFC 6238 at %d s is accepted in its step and the steps before and after', (seconds, code) => {
    const step = Math.floor(seconds / 30);
    for (const off of [-30, 0, 30]) expect(totpStepOf(SECRET, code, (seconds + off) * 1000)).toBe(step);
    for (const off of [-60, 60]) expect(totpStepOf(SECRET, code, (seconds + off) * 1000)).toBeUndefined();
  });

  it('may be typed in groups', () => {
    expect(['287082', ' 287 082 ', '287-082'].map(totpDigits)).toEqual(['287082', '287082', '287082']);
    for (const other of ['28708', '2870821', '28708a', '', '٢٨٧٠٨٢']) expect(totpDigits(other)).toBeUndefined();
  });

  it('has a secret of 160 bits and a URI for authenticators', () => {
    const secret = generateTotpSecret();
    expect(secret).toMatch(/^[A-Z2-7]{32}$/);
    const uri = new URL(totpUri(secret, 'mia+x@connectivity.example'));
    expect([uri.protocol, uri.host, decodeURIComponent(uri.pathname)]).toEqual([
      'otpauth:',
      'totp',
      '/Latchkey:mia+x@connectivity.example',
    ]);
    expect(Object.fromEntries(uri.searchParams)).toMatchObject({ issuer: 'Latchkey', secret });
  });
});

describe('a recovery code', () => {
  it('has 80 random bits and may be typed in any form', () => {
    const codes = generateRecoveryCodes();
    expect(new Set(codes.map(({ code }) => code)).size).toBe(10);
    for (const { code, hash } of codes) {
      expect(code).toMatch(/^([A-Z2-7]{4}-){3}[A-Z2-7]{4}$/);
      expect(hash).toMatch(/^\$sha256\$[\w-]{43}$/);
      expect(recoveryCodeHash(code)).toBe(hash);
      expect(recoveryCodeHash(code.toLowerCase().replaceAll('-', ' '))).toBe(hash);
    }
  });

  it.each(['', '287082', 'ABCD-EFGH-IJKL-MNO', 'ABCD-EFGH-IJKL-MNO1', 'ABCD-EFGH-IJKL-MNOPQ'])('is not %p', (text) => {
    expect(recoveryCodeHash(text)).toBeUndefined();
  });
});
