import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { decodeBase32, matchTotp, totpCode, totpStep } from '../../../../dataplane/auth/totp.ts';

const SECRET = Buffer.from('12345678901234567890');

suite('TOTP', () => {
  test('matches the SHA-1 vectors of RFC 6238, in six digits', () => {
    for (const [seconds, code] of [
      [59, '94287082'],
      [1_111_111_109, '07081804'],
      [1_111_111_111, '14050471'],
      [1_234_567_890, '89005924'],
      [2_000_000_000, '69279037'],
      [20_000_000_000, '65353130'],
    ] as const) {
      assert.equal(totpCode(SECRET, totpStep(seconds * 1000)), code.slice(2));
    }
  });

  test('a code is good one step early and late, and once', () => {
    const now = 1_111_111_111_000;
    const step = totpStep(now);
    for (const drift of [-1, 0, 1])
      assert.equal(matchTotp(SECRET, totpCode(SECRET, step + drift), now, -1), step + drift);
    for (const drift of [-2, 2]) assert.equal(matchTotp(SECRET, totpCode(SECRET, step + drift), now, -1), null);
    assert.equal(matchTotp(SECRET, totpCode(SECRET, step), now, step), null);
    assert.equal(matchTotp(SECRET, totpCode(SECRET, step - 1), now, step), null);
    assert.equal(matchTotp(SECRET, totpCode(SECRET, step + 1), now, step), step + 1);
  });

  test('a code may be typed with blanks', () => {
    const code = totpCode(SECRET, 1);
    assert.equal(matchTotp(SECRET, ` ${code.slice(0, 3)} ${code.slice(3)}\n`, 30_000, -1), 1);
  });

  test('what is not six digits is wrong', () => {
    for (const code of ['', '1', '1234567', 'abcdef', '０５０４７１'])
      assert.equal(matchTotp(SECRET, code, 0, -1), null);
  });

  test('base32 is read as people paste it, and refused when it is not base32 or too short', () => {
    const expected = Buffer.from('12345678901234567890');
    for (const text of [
      'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ',
      'gezd gnbv gy3t qojq gezd gnbv gy3t qojq',
      'GEZDGNBVGY3TQOJQ-GEZDGNBVGY3TQOJQ==',
    ]) {
      assert.deepEqual(Buffer.from(decodeBase32(text) ?? []), expected);
    }
    for (const text of ['', 'GEZDGNBV', 'GEZDGNBVGY3TQOJ1', 'A'.repeat(257)])
      assert.equal(decodeBase32(text), undefined);
  });
});
