import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { suite, test } from 'node:test';
import { parseStaticKey } from '../../../../dataplane/protocol/static-key.ts';
import { parseClientKeyPem, parseServerKeyPem, unwrapClientKey } from '../../../../dataplane/protocol/tls-crypt-v2.ts';
import { TerminalError } from '../../../../net/errors.ts';
import {
  newStaticKey,
  newTlsCryptV2ClientKey,
  newTlsCryptV2ServerKey,
  wrapClientKey,
} from '../../../../operator/pki/wrap-keys.ts';
import { derOfPem } from '../../../support/certificates.ts';

suite('Wrap keys', () => {
  test('a wrapped client key matches the vector of the protocol file', () => {
    const serverKey = new Uint8Array(128);
    for (let index = 0; index < 32; index += 1) {
      serverKey[index] = 0x80 + index;
      serverKey[64 + index] = 0xc0 + index;
    }
    const clientKey = Uint8Array.from({ length: 256 }, (_, index) => index);
    const wrapped = wrapClientKey(serverKey, clientKey, Buffer.from('010000000060000000', 'hex'));
    assert.equal(
      createHash('sha256').update(wrapped).digest('hex'),
      '63386a8fdf577ffc8bd65691bbfbba1fa153332486f6d665cdb36e24843d2d36',
    );
  });

  test('the data plane opens what is written here', () => {
    const serverText = newTlsCryptV2ServerKey(randomBytes);
    const serverKey = parseServerKeyPem(serverText);
    const client = parseClientKeyPem(newTlsCryptV2ClientKey(serverText, 1_700_000_000, randomBytes));
    assert.ok(serverKey !== undefined && client !== undefined);
    const opened = unwrapClientKey(serverKey, client.wrappedClientKey);
    assert.ok(opened.ok);
    assert.deepEqual(Buffer.from(opened.clientKey), Buffer.from(client.clientKey));
    assert.deepEqual(opened.metadata, { kind: 'timestamp', createdS: 1_700_000_000 });
    assert.equal(parseStaticKey(newStaticKey(randomBytes))?.length, 256);
  });

  test('files have the form that stock programs read', () => {
    const staticKey = newStaticKey(randomBytes);
    assert.match(
      staticKey,
      /^-----BEGIN OpenVPN Static key V1-----\n([0-9a-f]{32}\n){16}-----END OpenVPN Static key V1-----\n$/,
    );
    const serverKey = newTlsCryptV2ServerKey(randomBytes);
    assert.match(serverKey, /^-----BEGIN OpenVPN tls-crypt-v2 server key-----\n/);
    assert.equal(derOfPem(serverKey).length, 128);
    const clientKey = newTlsCryptV2ClientKey(serverKey, 1_700_000_000, randomBytes);
    assert.match(clientKey, /^-----BEGIN OpenVPN tls-crypt-v2 client key-----\n/);
    assert.equal(derOfPem(clientKey).length, 256 + 299);
    assert.notEqual(clientKey, newTlsCryptV2ClientKey(serverKey, 1_700_000_000, randomBytes));
  });

  test('what is no server key is refused without being shown', () => {
    const text = newStaticKey(randomBytes);
    assert.throws(
      () => newTlsCryptV2ClientKey(text, 0, randomBytes),
      (error) => error instanceof TerminalError && !error.message.includes(text.split('\n')[1]),
    );
  });
});
