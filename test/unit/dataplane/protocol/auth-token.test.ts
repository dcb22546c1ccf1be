import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AUTH_TOKEN_CHARACTERS,
  checkToken,
  issueToken,
  renewToken,
} from '../../../../dataplane/protocol/auth-token.ts';
import { countingBytes } from '../../../support/hex.ts';

const KEY = countingBytes(32, 5);
const RANDOM = countingBytes(12, 200);
const NOW_S = 1_700_000_000;
const LIMITS = { lifetimeS: 86_400, renewalS: 3600 };
const TOKEN = issueToken(KEY, 'ada', NOW_S, RANDOM);

const check = (token: string, nowS = NOW_S, user = 'ada', key = KEY) =>
  checkToken(key, user, token, { ...LIMITS, nowS });

test('[P94] a token of 91 characters is valid for its user', () => {
  assert.equal(TOKEN.length, 91);
  assert.equal(AUTH_TOKEN_CHARACTERS, 91);
  assert.deepEqual(check(TOKEN), { kind: 'valid', sessionId: RANDOM, createdS: NOW_S });
  assert.deepEqual(check(TOKEN, NOW_S, 'bob'), { kind: 'invalid' });
  assert.deepEqual(check(TOKEN, NOW_S, ''), { kind: 'invalid' });
  assert.deepEqual(check(TOKEN, NOW_S, 'ada', countingBytes(32, 6)), { kind: 'invalid' });
});

test('[P94] a tampered token is invalid, whichever character', () => {
  for (let at = 0; at < TOKEN.length; at += 1) {
    const other = TOKEN[at] === 'A' ? 'B' : 'A';
    assert.deepEqual(check(TOKEN.slice(0, at) + other + TOKEN.slice(at + 1)), { kind: 'invalid' }, `character ${at}`);
  }
});

test('[P94] a token expires without renewal, and at the end of its life in spite of renewals', () => {
  assert.equal(check(TOKEN, NOW_S + 7199).kind, 'valid');
  assert.equal(check(TOKEN, NOW_S + 7200).kind, 'expired');
  const renewed = (atS: number): string => renewToken(KEY, 'ada', { sessionId: RANDOM, createdS: NOW_S }, atS);
  assert.deepEqual(check(renewed(NOW_S + 86_000), NOW_S + 86_400), {
    kind: 'valid',
    sessionId: RANDOM,
    createdS: NOW_S,
  });
  assert.equal(check(renewed(NOW_S + 86_400), NOW_S + 86_401).kind, 'expired');
});

test('[P94] a token of another length is refused before it is decoded', () => {
  for (const token of [
    '',
    'SESS_ID_AT_',
    TOKEN.slice(1),
    `${TOKEN}A`,
    `SESS_ID_AT_${'A'.repeat(5000)}`,
    TOKEN.replace('SESS', 'sess'),
  ]) {
    assert.deepEqual(check(token), { kind: 'invalid' });
  }
});
