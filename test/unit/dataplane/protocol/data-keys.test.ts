import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CIPHER_KEY_BYTES, dataKeysFromBlock } from '../../../../dataplane/protocol/data-keys.ts';
import { epochKeyFrom } from '../../../../dataplane/protocol/epoch-keys.ts';
import { countingBytes } from '../../../support/hex.ts';

const BLOCK = countingBytes(256);

for (const [cipher, keyBytes] of Object.entries(CIPHER_KEY_BYTES) as [keyof typeof CIPHER_KEY_BYTES, number][]) {
  test(`cuts keys of ${keyBytes} bytes for ${cipher}`, () => {
    const keys = dataKeysFromBlock(BLOCK, { keyId: 1, cipher, epochFormat: false });
    assert.deepEqual(keys, {
      keyId: 1,
      cipher,
      epochFormat: false,
      decryptKey: countingBytes(keyBytes, 0),
      decryptIv: countingBytes(8, 64),
      encryptKey: countingBytes(keyBytes, 128),
      encryptIv: countingBytes(8, 192),
    });
    assert.equal(epochKeyFrom(countingBytes(32), cipher).key.length, keyBytes);
  });
}

test('epoch secrets are 32 bytes whatever the cipher', () => {
  const keys = dataKeysFromBlock(BLOCK, { keyId: 0, cipher: 'AES-128-GCM', epochFormat: true });
  assert.deepEqual(keys?.encryptKey, countingBytes(32, 128));
  assert.deepEqual(keys?.decryptKey, countingBytes(32, 0));
});

test('an all-zero key of either direction is refused', () => {
  for (const start of [0, 128]) {
    const block = BLOCK.slice().fill(0, start, start + 32);
    assert.equal(dataKeysFromBlock(block, { keyId: 0, cipher: 'AES-256-GCM', epochFormat: false }), undefined);
  }
});

test('keys share no memory with the block, so that it can be wiped', () => {
  const block = BLOCK.slice();
  const keys = dataKeysFromBlock(block, { keyId: 0, cipher: 'AES-256-GCM', epochFormat: false });
  block.fill(0);
  assert.deepEqual(keys?.encryptKey, countingBytes(32, 128));
});
