import assert from 'node:assert/strict';
import { test } from 'node:test';
import { utf8Bytes } from '../../../../dataplane/protocol/bytes.ts';
import {
  authFailedMessage,
  authFailedTemporaryMessage,
  authPendingMessage,
  ControlMessageReader,
  encodeControlMessage,
  haltMessage,
  openUrlMessage,
  printableReason,
  restartMessage,
  textChallengeMessage,
  webAuthMessage,
} from '../../../../dataplane/protocol/control-message.ts';

const read = (...texts: readonly string[]) => {
  const reader = new ControlMessageReader();
  return texts.flatMap((text) => reader.push(utf8Bytes(text)));
};

test('reads messages however the stream is cut', () => {
  const stream = 'PUSH_REQUEST\0EXIT\r\n\0CR_RESPONSE,c2VjcmV0\0';
  const expected = [{ kind: 'pushRequest' }, { kind: 'exit' }, { kind: 'challengeResponse', response: 'secret' }];
  for (let cut = 0; cut <= stream.length; cut += 1) {
    assert.deepEqual(read(stream.slice(0, cut), stream.slice(cut)), expected);
  }
});

test('[P82] a message with control characters, or whose NUL has not come, is not acted on', () => {
  assert.deepEqual(read('PUSH_\u0007REQUEST\0EXIT\u007f\0\nEXIT\0'), [
    { kind: 'ignored', reason: 'unprintable' },
    { kind: 'ignored', reason: 'unprintable' },
    { kind: 'ignored', reason: 'unprintable' },
  ]);
  assert.deepEqual(read('PUSH_REQUEST'), []);
  assert.deepEqual(read('PUSH_REQUEST', 'PUSH_REQUEST\0'), [{ kind: 'ignored', reason: 'unknown' }]);
});

test('[P82] a message over 4 KiB is let go without being kept, and the next one counts', () => {
  const messages = read('A'.repeat(3_000), 'A'.repeat(3_000), `A\0EXIT\0${'A'.repeat(1_000_000)}`, '\0');
  const tooLong = { kind: 'ignored', reason: 'too-long' };
  assert.deepEqual(messages, [tooLong, { kind: 'exit' }, tooLong]);
});

test('a challenge response that is too long or no base64 is not one', () => {
  assert.deepEqual(read(`CR_RESPONSE,${'A'.repeat(1028)}\0CR_RESPONSE,a\0CR_RESPONSE,****\0`), [
    { kind: 'ignored', reason: 'too-long' },
    { kind: 'ignored', reason: 'malformed' },
    { kind: 'ignored', reason: 'malformed' },
  ]);
});

test('unknown and empty messages are not acted on', () => {
  assert.deepEqual(read('\0\0ACC,x\0push_request\0'), [
    { kind: 'ignored', reason: 'unknown' },
    { kind: 'ignored', reason: 'unknown' },
  ]);
});

test('of more messages than anybody has to say at once the first are looked at, and what follows the last', () => {
  const many = read(`${'EXIT\0'.repeat(32)}${'a\0'.repeat(100)}PUSH_`, 'REQUEST\0');
  assert.equal(many.length, 34);
  assert.deepEqual(many.slice(31), [
    { kind: 'exit' },
    { kind: 'ignored', reason: 'too-many' },
    { kind: 'pushRequest' },
  ]);
  assert.deepEqual(read('\0'.repeat(16_384), 'EXIT\0'), [{ kind: 'ignored', reason: 'too-many' }, { kind: 'exit' }]);
});

test('writes the pending messages with and without keywords', () => {
  assert.equal(authPendingMessage(180), 'AUTH_PENDING,timeout 180');
  assert.equal(authPendingMessage(null), 'AUTH_PENDING');
  assert.equal(webAuthMessage('https://a.example/l/1'), 'INFO_PRE,WEB_AUTH::https://a.example/l/1');
  assert.equal(openUrlMessage('https://a.example'), 'INFO_PRE,OPEN_URL:https://a.example');
  assert.equal(textChallengeMessage('Code?', { echo: true }), 'INFO_PRE,CR_TEXT:E,R:Code?');
});

test('writes refusals, restarts and farewells as clients know them', () => {
  assert.equal(authFailedMessage(''), 'AUTH_FAILED');
  assert.equal(authFailedMessage('certificate not accepted'), 'AUTH_FAILED,certificate not accepted');
  assert.equal(authFailedTemporaryMessage({ reason: 'busy' }), 'AUTH_FAILED,TEMP:busy');
  assert.equal(
    authFailedTemporaryMessage({ backoffS: 30, advance: 'no', reason: 'busy' }),
    'AUTH_FAILED,TEMP[backoff 30,advance no]:busy',
  );
  assert.equal(
    restartMessage({ keepCredentials: true, nextRemote: false, reason: 'maintenance' }),
    'RESTART,[P]:maintenance',
  );
  assert.equal(restartMessage({ keepCredentials: false, nextRemote: true, reason: '' }), 'RESTART,[N]');
  assert.equal(restartMessage({ keepCredentials: false, nextRemote: false, reason: '' }), 'RESTART');
  assert.equal(haltMessage('session revoked'), 'HALT,session revoked');
  assert.deepEqual([...encodeControlMessage('EXIT')], [69, 88, 73, 84, 0]);
});

test('reasons are printable, valid and at most 200 characters', () => {
  assert.equal(printableReason('a\r\nb\u0000c\u009d'), 'a b c ');
  assert.equal(Array.from(printableReason('😀'.repeat(300))).length, 200);
  assert.ok(printableReason('\ud800x').isWellFormed());
});

test('a message that comes byte by byte is read as one', () => {
  assert.deepEqual(read(...'PUSH_REQUEST\0EXIT\0'.split('')), [{ kind: 'pushRequest' }, { kind: 'exit' }]);
});
