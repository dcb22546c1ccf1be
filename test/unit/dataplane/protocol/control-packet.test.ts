import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  CONTROL_HEADER_BYTES,
  ControlDrop,
  decodeControlBody,
  decodeControlHeader,
  encodeControlPacket,
  type ControlPacket,
} from '../../../../dataplane/protocol/control-packet.ts';
import { plainWrap } from '../../../../dataplane/protocol/control-wrap.ts';
import { isControlOpcode, keyIdOf, nextKeyId, Opcode, opcodeOf } from '../../../../dataplane/protocol/opcode.ts';
import { WrapPacketIds } from '../../../../dataplane/protocol/wrap-packet-id.ts';
import { controlPackets } from '../../../support/control-packets.ts';
import { fromHex, toHex } from '../../../support/hex.ts';
import { seeded } from '../../../support/seed.ts';

const HEADER = { opcode: Opcode.ControlV1, keyId: 0, sessionId: fromHex('0102030405060708') } as const;

test('[P4] refuses opcodes that do not exist or are obsolete', () => {
  for (const opcode of [0, 1, 2, 6, 9, 12, 31]) {
    const bytes = Uint8Array.of(opcode << 3, ...HEADER.sessionId, 0, 0, 0, 0, 0);
    assert.deepEqual(decodeControlHeader(bytes), { ok: false, reason: ControlDrop.UnknownOpcode });
  }
});

test('[P5] refuses a hard reset of another key id than 0', () => {
  for (const opcode of [Opcode.HardResetClientV2, Opcode.HardResetServerV2, Opcode.HardResetClientV3]) {
    const bytes = Uint8Array.of((opcode << 3) | 1, ...HEADER.sessionId, 0, 0, 0, 0, 0);
    assert.deepEqual(decodeControlHeader(bytes), { ok: false, reason: ControlDrop.HardResetKeyId });
  }
});

test('[P6] refuses an all-zero session id', () => {
  const bytes = fromHex('38 0000000000000000 00 00000000');
  assert.deepEqual(decodeControlHeader(bytes), { ok: false, reason: ControlDrop.ZeroSessionId });
});

test('[P11] refuses packets of 0 to 8 bytes, and longer than any control packet', () => {
  for (let length = 0; length < 9; length += 1) {
    assert.deepEqual(decodeControlHeader(new Uint8Array(length).fill(0x38)), {
      ok: false,
      reason: ControlDrop.TooShort,
    });
  }
  const long = decodeControlHeader(new Uint8Array(2049).fill(0x20));
  assert.deepEqual(long, { ok: false, reason: ControlDrop.TooLong });
});

test('the resets of both sides are the recorded 14 and 26 bytes', () => {
  const ids = new WrapPacketIds(0);
  const reset: ControlPacket = {
    opcode: Opcode.HardResetClientV2,
    keyId: 0,
    sessionId: HEADER.sessionId,
    acks: [],
    peerSessionId: null,
    messageId: 0,
    payload: new Uint8Array(0),
  };
  assert.equal(toHex(plainWrap().wrap(reset, ids)), '3801020304050607080000000000');
  const answer = {
    ...reset,
    opcode: Opcode.HardResetServerV2,
    sessionId: fromHex('1112131415161718'),
    acks: [0],
    peerSessionId: HEADER.sessionId,
  };
  assert.equal(
    toHex(plainWrap().wrap(answer, ids)),
    '401112131415161718 01 00000000 0102030405060708 00000000'.replaceAll(' ', ''),
  );
});

test('[P25] refuses a hard reset of another message id than 0', () => {
  const header = { ...HEADER, opcode: Opcode.HardResetClientV2 };
  assert.deepEqual(decodeControlBody(header, fromHex('00 00000005')), {
    ok: false,
    reason: ControlDrop.HardResetMessageId,
  });
});

test('[P35] refuses more than eight acknowledgements', () => {
  const eight = decodeControlBody(HEADER, Uint8Array.of(8, ...new Uint8Array(8 * 4 + 8 + 4)));
  assert.ok(eight.ok);
  assert.equal(eight.packet.acks.length, 8);
  for (const count of [9, 128, 255]) {
    const body = Uint8Array.of(count, ...new Uint8Array(count * 4 + 12));
    assert.deepEqual(decodeControlBody(HEADER, body), { ok: false, reason: ControlDrop.TooManyAcks });
  }
});

test('an ack count that lies about what follows is refused', () => {
  const honest = fromHex('02 00000001 00000002 1112131415161718 00000003');
  assert.ok(decodeControlBody(HEADER, honest).ok);
  for (const count of [3, 4, 8]) {
    const lying = Uint8Array.of(count, ...honest.subarray(1));
    assert.deepEqual(decodeControlBody(HEADER, lying), { ok: false, reason: ControlDrop.TooShort });
  }
});

test('a body survives encoding and decoding; every shorter part is refused or loses payload only', (t) => {
  fc.assert(
    fc.property(controlPackets(), (packet) => {
      const bytes = encodeControlPacket(packet, 0);
      const body = bytes.subarray(CONTROL_HEADER_BYTES);
      const header = decodeControlHeader(bytes);
      assert.ok(header.ok);
      const decoded = decodeControlBody(header.header, body);
      assert.ok(decoded.ok);
      assert.equal(toHex(encodeControlPacket(decoded.packet, 0)), toHex(bytes));
      assert.deepEqual(decoded.packet.acks, packet.acks);
      assert.equal(decoded.packet.messageId, packet.messageId);
      const fixed = body.length - packet.payload.length;
      for (let length = 0; length < body.length; length += 1) {
        assert.equal(decodeControlBody(packet, body.subarray(0, length)).ok, length >= fixed);
      }
    }),
    { ...seeded(t), numRuns: 200 },
  );
});

test('key ids count 1 to 7 and start again at 1', () => {
  const seen = [0];
  for (let at = 0; at < 8; at += 1) seen.push(nextKeyId(seen[at]));
  assert.deepEqual(seen, [0, 1, 2, 3, 4, 5, 6, 7, 1]);
});

test('the first byte holds opcode and key id', () => {
  assert.equal(opcodeOf(0x4b), Opcode.DataV2);
  assert.equal(keyIdOf(0x4b), 3);
  const control = Array.from({ length: 32 }, (_, opcode) => opcode).filter((opcode) => isControlOpcode(opcode));
  assert.deepEqual(control, [3, 4, 5, 7, 8, 10, 11]);
});
