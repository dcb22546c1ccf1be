import assert from 'node:assert/strict';
import { test } from 'node:test';
import { concatBytes } from '../../../../dataplane/protocol/bytes.ts';
import { ControlDrop } from '../../../../dataplane/protocol/control-packet.ts';
import { formatStaticKey, parseStaticKey } from '../../../../dataplane/protocol/static-key.ts';
import {
  formatClientKeyPem,
  formatServerKeyPem,
  makeWrappedClientKey,
  parseClientKeyPem,
  parseMetadata,
  parseServerKeyPem,
  splitWrappedClientKey,
  timestampMetadata,
  tlsCryptV2ServerKey,
  unwrapClientKey,
} from '../../../../dataplane/protocol/tls-crypt-v2.ts';
import { countingBytes, fromHex } from '../../../support/hex.ts';

const SERVER_KEY_BYTES = countingBytes(128, 3);
const SERVER_KEY = tlsCryptV2ServerKey(SERVER_KEY_BYTES);
const CLIENT_KEY = countingBytes(256, 9);
const WRAPPED = makeWrappedClientKey(SERVER_KEY, CLIENT_KEY, timestampMetadata(1_700_000_000));
const REST = new Uint8Array(54).fill(1);

test('[P43] refuses wrapped client keys whose length lies', () => {
  const packet = concatBytes(REST, WRAPPED);
  for (const length of [0, 1, 289, 1025, packet.length, packet.length - 49, 0xffff]) {
    const lying = packet.slice();
    lying.set([length >>> 8, length & 255], lying.length - 2);
    assert.deepEqual(splitWrappedClientKey(lying), { ok: false, reason: ControlDrop.BadWrappedClientKeyLength });
  }
});

test('[P43] every truncation of a packet with a wrapped client key is a verdict', () => {
  const packet = concatBytes(REST, WRAPPED);
  for (let length = 0; length < packet.length; length += 1) {
    const split = splitWrappedClientKey(packet.subarray(0, length));
    assert.ok(!split.ok || !unwrapClientKey(SERVER_KEY, split.wrappedClientKey).ok, `length ${length}`);
  }
});

test('cuts a wrapped client key off its packet', () => {
  const split = splitWrappedClientKey(concatBytes(REST, WRAPPED));
  assert.ok(split.ok);
  assert.deepEqual(split.packet, REST);
  const unwrapped = unwrapClientKey(SERVER_KEY, split.wrappedClientKey);
  assert.ok(unwrapped.ok);
  assert.deepEqual([...unwrapped.clientKey], [...CLIENT_KEY]);
});

test('[P40] a wrapped client key with one flipped bit, or of another server, is refused', () => {
  for (let bit = 0; bit < WRAPPED.length * 8; bit += 1) {
    const flipped = WRAPPED.slice();
    flipped[bit >>> 3] ^= 1 << (bit & 7);
    assert.equal(unwrapClientKey(SERVER_KEY, flipped).ok, false, `bit ${bit}`);
  }
  assert.equal(unwrapClientKey(tlsCryptV2ServerKey(countingBytes(128, 4)), WRAPPED).ok, false);
});

test('[P45] tells when a client key was made', () => {
  const unwrapped = unwrapClientKey(SERVER_KEY, WRAPPED);
  assert.ok(unwrapped.ok);
  assert.deepEqual(unwrapped.metadata, { kind: 'timestamp', createdS: 1_700_000_000 });
});

test('metadata of any shape has a kind', () => {
  assert.deepEqual(parseMetadata(new Uint8Array(0)), { kind: 'none' });
  assert.deepEqual(parseMetadata(fromHex('00 6162')), { kind: 'user', data: fromHex('6162') });
  for (const bytes of ['01', '01 00000000', '01 000000000000000000', '02 00', 'ff']) {
    assert.deepEqual(parseMetadata(fromHex(bytes)), { kind: 'unknown' });
  }
});

test('key files survive formatting and parsing', () => {
  const serverKey = parseServerKeyPem(formatServerKeyPem(SERVER_KEY_BYTES));
  assert.ok(serverKey && unwrapClientKey(serverKey, WRAPPED).ok);
  const clientKey = { clientKey: CLIENT_KEY, wrappedClientKey: WRAPPED };
  const parsed = parseClientKeyPem(formatClientKeyPem(clientKey));
  assert.deepEqual([...(parsed?.clientKey ?? [])], [...CLIENT_KEY]);
  assert.deepEqual([...(parsed?.wrappedClientKey ?? [])], [...WRAPPED]);
  assert.deepEqual(parseStaticKey(formatStaticKey(CLIENT_KEY)), CLIENT_KEY);
});

test('key files that are not whole are refused', () => {
  const staticKey = formatStaticKey(CLIENT_KEY);
  assert.ok(parseStaticKey(`# 2048 bit\n${staticKey.replaceAll('\n', '\r\n')}`));
  for (const text of [
    '',
    staticKey.replace('END', 'FIN'),
    staticKey.replace(/\n[0-9a-f]{32}/, ''),
    staticKey.replace('0', 'g'),
  ]) {
    assert.equal(parseStaticKey(text), undefined);
  }
  assert.equal(parseServerKeyPem(formatServerKeyPem(SERVER_KEY_BYTES.subarray(1))), undefined);
  assert.equal(parseServerKeyPem(formatServerKeyPem(SERVER_KEY_BYTES).replace('A', '!')), undefined);
  assert.equal(parseClientKeyPem(formatServerKeyPem(SERVER_KEY_BYTES)), undefined);
});

test('metadata that would make a key larger than any server takes is refused', () => {
  assert.equal(makeWrappedClientKey(SERVER_KEY, CLIENT_KEY, new Uint8Array(734)).length, 1024);
  assert.throws(() => makeWrappedClientKey(SERVER_KEY, CLIENT_KEY, new Uint8Array(735)), { name: 'InternalError' });
});
