import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeBase64, encodeBase64 } from '../../../../dataplane/protocol/base64.ts';
import { dynamicChallengeMessage, parsePasswordField } from '../../../../dataplane/protocol/challenge.ts';
import { countingBytes } from '../../../support/hex.ts';

test('reads the answer to a dynamic challenge; the response may hold anything', () => {
  assert.deepEqual(parsePasswordField('CRV1::abc/1-2_3.4::PHNhbWw+::x'), {
    kind: 'dynamicChallenge',
    stateId: 'abc/1-2_3.4',
    response: 'PHNhbWw+::x',
  });
  for (const field of ['CRV1::', 'CRV1::state', 'CRV1::::x', 'CRV1::a:b::x', `CRV1::${'s'.repeat(129)}::x`]) {
    assert.deepEqual(parsePasswordField(field), { kind: 'malformed' }, field);
  }
});

test('reads the start of a federated login', () => {
  assert.deepEqual(parsePasswordField('ACS::35001'), { kind: 'federatedStart', port: 35001 });
  for (const field of ['ACS::', 'ACS::0', 'ACS::65536', 'ACS::12ab', 'ACS::-1']) {
    assert.deepEqual(parsePasswordField(field), { kind: 'malformed' }, field);
  }
});

test('any other password is taken as it is', () => {
  for (const password of ['', 'SCRV1:cGFzcw==:MTIzNDU2', 'crv1::a::b', 'CRV1:x', 'SESS_ID_AT_x']) {
    assert.deepEqual(parsePasswordField(password), { kind: 'plain', password });
  }
});

test('writes a dynamic challenge, with the quoting that the AWS client is used to', () => {
  const challenge = {
    responseRequired: true,
    echo: false,
    stateId: 'i-1/2',
    username: 'N/A',
    text: 'https://idp/?a=b:c',
  };
  assert.equal(
    dynamicChallengeMessage({ ...challenge, quoting: 'plain' }),
    'AUTH_FAILED,CRV1:R:i-1/2:Ti9B:https://idp/?a=b:c',
  );
  assert.equal(
    dynamicChallengeMessage({ ...challenge, echo: true, quoting: 'aws' }),
    "AUTH_FAILED,CRV1:R,E:i-1/2:b'Ti9B':https://idp/?a=b:c",
  );
});

test('base64 is strict', () => {
  const bytes = countingBytes(20_000);
  assert.deepEqual(decodeBase64(encodeBase64(bytes)), bytes);
  for (const text of ['a', 'ab=', 'a===', 'YQ', 'Y Q=', 'YQ-_', '===='])
    assert.equal(decodeBase64(text), undefined, text);
});
