import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  checkCookie,
  cookieSecretFrom,
  cookieSlotOf,
  makeCookie,
  serverResetTlv,
} from '../../../../dataplane/protocol/session-cookie.ts';
import { asksToResendWkc } from '../../../support/client-wrap.ts';
import { countingBytes, fromHex, toHex } from '../../../support/hex.ts';

const SECRET = cookieSecretFrom(countingBytes(32, 1));
const REMOTE = countingBytes(7, 40);
const CLIENT_ID = countingBytes(8, 80);
const NOW_S = 1_700_000_000;
const SLOT = cookieSlotOf(NOW_S);
const COOKIE = makeCookie(SECRET, SLOT, REMOTE, CLIENT_ID);

test('[P19] resets within a slot of 30 s get the same session id', () => {
  const start = SLOT * 30;
  const cookie = makeCookie(SECRET, cookieSlotOf(start), REMOTE, CLIENT_ID);
  assert.equal(toHex(makeCookie(SECRET, cookieSlotOf(start + 29.9), REMOTE, CLIENT_ID)), toHex(cookie));
  assert.notEqual(toHex(makeCookie(SECRET, cookieSlotOf(start + 30), REMOTE, CLIENT_ID)), toHex(cookie));
});

test('a cookie is good in its slot and the next two', () => {
  for (const later of [0, 1, 2]) assert.equal(checkCookie(SECRET, SLOT + later, REMOTE, CLIENT_ID, COOKIE), true);
});

test('[P21] a cookie of another time, address, client, secret or value is refused', () => {
  for (const later of [-1, 3, 4]) assert.equal(checkCookie(SECRET, SLOT + later, REMOTE, CLIENT_ID, COOKIE), false);
  assert.equal(checkCookie(SECRET, SLOT, countingBytes(7, 41), CLIENT_ID, COOKIE), false);
  assert.equal(checkCookie(SECRET, SLOT, REMOTE, countingBytes(8, 81), COOKIE), false);
  assert.equal(checkCookie(countingBytes(32, 2), SLOT, REMOTE, CLIENT_ID, COOKIE), false);
  for (let bit = 0; bit < 64; bit += 1) {
    const flipped = COOKIE.slice();
    flipped[bit >>> 3] ^= 1 << (bit & 7);
    assert.equal(checkCookie(SECRET, SLOT, REMOTE, CLIENT_ID, flipped), false);
  }
  assert.equal(checkCookie(SECRET, SLOT, REMOTE, CLIENT_ID, COOKIE.subarray(0, 7)), false);
});

test('[P26] the answer that asks for the wrapped key again carries one TLV', () => {
  assert.equal(toHex(serverResetTlv(true)), '000100020001');
  assert.equal(serverResetTlv(false).length, 0);
  assert.equal(asksToResendWkc(serverResetTlv(true)), true);
  for (const other of ['', '0001', '000100020000', '00010003', '0002000100', '00010002ff']) {
    assert.equal(asksToResendWkc(fromHex(other)), false, other);
  }
  assert.equal(asksToResendWkc(fromHex('0007 0001 aa 0001 0002 0001')), true, 'unknown types are skipped');
});
