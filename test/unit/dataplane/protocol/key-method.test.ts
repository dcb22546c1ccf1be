import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { concatBytes, utf8Bytes, viewOf } from '../../../../dataplane/protocol/bytes.ts';
import {
  encodeServerKeyMethod,
  KeyMethodFailure,
  KeyMethodParser,
  type KeyMethodMessage,
  type KeyMethodStep,
} from '../../../../dataplane/protocol/key-method.ts';
import { parsePeerInfo } from '../../../../dataplane/protocol/peer-info.ts';
import {
  encodeClientKeyMethod,
  parseServerKeyMethod,
  type ClientKeyMethod,
} from '../../../support/client-key-method.ts';
import { countingBytes, toHex } from '../../../support/hex.ts';
import { seeded } from '../../../support/seed.ts';

const SOURCE = { preMaster: countingBytes(48, 1), random1: countingBytes(32, 60), random2: countingBytes(32, 100) };
const MESSAGE: ClientKeyMethod = {
  framing: 'stock',
  source: SOURCE,
  options: 'V4,dev-type tun,tls-client',
  username: 'ada',
  password: 'correct horse',
  peerInfo: 'IV_VER=2.6.14\nIV_PROTO=990\n',
};
const FIXED_BYTES = 117;

function parse(...records: readonly Uint8Array[]): KeyMethodStep {
  const parser = new KeyMethodParser();
  let step: KeyMethodStep = { kind: 'more' };
  for (const record of records) {
    step = parser.push(record);
    if (step.kind !== 'more') return step;
  }
  return step;
}

function messageOf(step: KeyMethodStep): KeyMethodMessage {
  assert.equal(step.kind, 'done');
  assert.ok(step.kind === 'done');
  return step.message;
}

function assertSame(actual: KeyMethodMessage, expected: ClientKeyMethod): void {
  const { framing, options, username, password, peerInfo } = actual;
  const { source, ...texts } = expected;
  assert.deepEqual({ framing, options, username, password, peerInfo }, texts);
  assert.deepEqual(actual.source, source);
}

for (const framing of ['stock', 'aws'] as const) {
  test(`${framing}: a message survives encoding and parsing, whatever its pieces`, (t) => {
    const text = fc.string({ unit: 'grapheme', maxLength: 40 }).filter((s) => !/\p{Cc}/u.test(s) && s.isWellFormed());
    fc.assert(
      fc.property(
        fc.record({ options: text, username: text, password: text, peerInfo: text }),
        fc.integer({ min: 1, max: 60 }),
        (texts, pieceBytes) => {
          const message = { ...MESSAGE, ...texts, framing };
          const bytes = encodeClientKeyMethod(message);
          const pieces: Uint8Array[] = [];
          for (let at = 0; at < bytes.length; at += pieceBytes) pieces.push(bytes.slice(at, at + pieceBytes));
          assertSame(messageOf(parse(...pieces)), message);
        },
      ),
      seeded(t),
    );
  });

  test(`${framing}: every truncation asks for more, but where old clients end`, () => {
    const bytes = encodeClientKeyMethod({ ...MESSAGE, framing });
    const legacyEnds = framing === 'stock' ? [117 + 2 + 27, 117 + 2 + 27 + 2 + 4 + 2 + 14] : [];
    for (let length = 0; length < bytes.length; length += 1) {
      const parser = new KeyMethodParser();
      assert.equal(parser.push(bytes.subarray(0, length)).kind, 'more', `length ${length}`);
      assert.equal(parser.finishLegacy().kind, legacyEnds.includes(length) ? 'done' : 'more', `length ${length}`);
    }
  });

  test(`${framing}: what follows the message is handed on`, () => {
    const bytes = concatBytes(encodeClientKeyMethod({ ...MESSAGE, framing }), utf8Bytes('PUSH_REQUEST\0'));
    const step = parse(bytes);
    assert.ok(step.kind === 'done');
    assert.equal(new TextDecoder().decode(step.rest), 'PUSH_REQUEST\0');
  });
}

test('[P50] refuses key methods other than 2', () => {
  for (const method of [0, 1, 3, 15]) {
    const bytes = encodeClientKeyMethod(MESSAGE);
    bytes[4] = method;
    assert.deepEqual(parse(bytes), { kind: 'failed', reason: KeyMethodFailure.NotKeyMethod2 });
  }
});

test('[P51] accepts a stock message in two TLS records, cut anywhere', () => {
  const bytes = encodeClientKeyMethod(MESSAGE);
  for (let cut = 1; cut < bytes.length; cut += 1) {
    assertSame(messageOf(parse(bytes.subarray(0, cut), bytes.subarray(cut))), MESSAGE);
  }
});

test('[P52] accepts empty strings as 0000 and as 000100', () => {
  const fixed = encodeClientKeyMethod(MESSAGE).subarray(0, FIXED_BYTES);
  for (const empty of [Uint8Array.of(0, 0), Uint8Array.of(0, 1, 0)]) {
    const message = messageOf(parse(concatBytes(fixed, empty, empty, empty, empty)));
    assert.deepEqual([message.options, message.username, message.password, message.peerInfo], ['', '', '', '']);
  }
});

test('[P53] never reads a string beyond the message', () => {
  const bytes = encodeClientKeyMethod(MESSAGE);
  for (const at of [117, 146, 152]) {
    const lying = bytes.slice();
    viewOf(lying).setUint16(at, 0xffff);
    const step = parse(lying);
    assert.deepEqual(step, { kind: 'failed', reason: KeyMethodFailure.TooLong }, 'no message can be so long');
    viewOf(lying).setUint16(at, 1000);
    const parser = new KeyMethodParser();
    assert.equal(parser.push(lying).kind, 'more');
    assert.deepEqual(parser.finishLegacy(), { kind: 'more' });
  }
});

test('[P53] refuses an AWS string beyond the announced length, and bytes that belong to no string', () => {
  const bytes = encodeClientKeyMethod({ ...MESSAGE, framing: 'aws' });
  for (const length of [0xffffffff, bytes.length, 28]) {
    const lying = bytes.slice();
    viewOf(lying).setUint32(FIXED_BYTES, length);
    assert.deepEqual(parse(lying), { kind: 'failed', reason: KeyMethodFailure.StringBeyondEnd });
  }
  const padded = concatBytes(bytes, new Uint8Array(3));
  viewOf(padded).setUint32(0, padded.length, true);
  assert.deepEqual(parse(padded), { kind: 'failed', reason: KeyMethodFailure.TrailingBytes });
});

test('[P54] our answer starts 0000000002, has options and three empty strings', () => {
  const source = { random1: countingBytes(32, 1), random2: countingBytes(32, 2) };
  const bytes = encodeServerKeyMethod(source, 'V4,tls-server');
  assert.equal(toHex(bytes.subarray(0, 5)), '0000000002');
  assert.equal(toHex(bytes.subarray(69, 71)), '000e');
  assert.equal(toHex(bytes.subarray(-7)), '00000000000000', 'a terminator and three empty strings');
  const parsed = parseServerKeyMethod(bytes);
  assert.ok(typeof parsed === 'object');
  assert.deepEqual(parsed, { source, options: 'V4,tls-server', rest: new Uint8Array(0) });
});

test('[P55] accepts an AWS message of 120 KiB in more than 100 pieces, the password intact', () => {
  const password = 'CRV1::state::' + 'A'.repeat(120 * 1024);
  const bytes = encodeClientKeyMethod({ ...MESSAGE, framing: 'aws', password });
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += 1136) pieces.push(bytes.subarray(at, at + 1136));
  assert.ok(pieces.length > 100);
  const message = messageOf(parse(...pieces));
  assert.equal(message.password, password);
  assert.equal(message.credentialsTooLong, false);
});

test('[P56] refuses an AWS length out of bounds at once', () => {
  for (const length of [0xffffffff, 262_145, 132, 1]) {
    const start = new Uint8Array(5);
    viewOf(start).setUint32(0, length, true);
    start[4] = 2;
    assert.deepEqual(parse(start), { kind: 'failed', reason: KeyMethodFailure.BadLength });
  }
});

test('[P57] a user name of 300 characters is marked, and the peer info still read', () => {
  const message = messageOf(parse(encodeClientKeyMethod({ ...MESSAGE, username: 'a'.repeat(300) })));
  assert.equal(message.credentialsTooLong, true);
  assert.equal(parsePeerInfo(message.peerInfo).protocolBits, 990);
});

test('a message larger than 65,536 bytes is refused in stock framing without waiting for its end', () => {
  const fixed = encodeClientKeyMethod(MESSAGE).subarray(0, FIXED_BYTES);
  const string = concatBytes(Uint8Array.of(0xff, 0xff), new Uint8Array(0xffff));
  assert.deepEqual(parse(fixed, string.subarray(0, 10)), { kind: 'failed', reason: KeyMethodFailure.TooLong });
});

test('text ends at an embedded NUL, and user names lose control characters', () => {
  const message = messageOf(parse(encodeClientKeyMethod({ ...MESSAGE, username: 'a\r\nb\u007f', password: 'x\0y' })));
  assert.equal(message.username, 'ab');
  assert.equal(message.password, 'x');
});

test('a string without its terminator loses its last byte, not the message', () => {
  const fixed = encodeClientKeyMethod(MESSAGE).subarray(0, FIXED_BYTES);
  const string = Uint8Array.of(0, 2, 0x61, 0x62);
  assert.equal(messageOf(parse(concatBytes(fixed, string, string, string, string))).username, 'a');
});
