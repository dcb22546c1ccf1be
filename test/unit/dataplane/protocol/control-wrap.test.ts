import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { ControlPacket } from '../../../../dataplane/protocol/control-packet.ts';
import { encodeControlPacket } from '../../../../dataplane/protocol/control-packet.ts';
import { plainWrap, tlsAuthWrap, tlsCryptWrap, type ControlWrap } from '../../../../dataplane/protocol/control-wrap.ts';
import { dynamicTlsCryptKey } from '../../../../dataplane/protocol/dynamic-tls-crypt.ts';
import { Opcode } from '../../../../dataplane/protocol/opcode.ts';
import { MAX_CONTROL_DATAGRAM_BYTES, maxPayloadBytes } from '../../../../dataplane/protocol/packet-assembly.ts';
import { WrapPacketIds, WrapPacketIdWindow } from '../../../../dataplane/protocol/wrap-packet-id.ts';
import { controlPackets } from '../../../support/control-packets.ts';
import { countingBytes, fromHex, toHex } from '../../../support/hex.ts';
import { seeded } from '../../../support/seed.ts';

const KEY = countingBytes(256, 7);

interface WrapPair {
  readonly name: string;
  readonly client: ControlWrap;
  readonly server: ControlWrap;
}

const tlsAuth = (digest: 'SHA1' | 'SHA256' | 'SHA512'): WrapPair => ({
  name: `tls-auth ${digest}`,
  client: tlsAuthWrap(KEY, { digest, direction: 'client' }),
  server: tlsAuthWrap(KEY, { digest, direction: 'server' }),
});
const PROTECTED: readonly WrapPair[] = [
  tlsAuth('SHA1'),
  tlsAuth('SHA256'),
  tlsAuth('SHA512'),
  { name: 'tls-crypt', client: tlsCryptWrap(KEY, 'client'), server: tlsCryptWrap(KEY, 'server') },
];
const ALL: readonly WrapPair[] = [{ name: 'none', client: plainWrap(), server: plainWrap() }, ...PROTECTED];

const PACKET: ControlPacket = {
  opcode: Opcode.ControlV1,
  keyId: 3,
  sessionId: fromHex('0102030405060708'),
  acks: [4, 5],
  peerSessionId: fromHex('1112131415161718'),
  messageId: 6,
  payload: countingBytes(40),
};

for (const { name, client, server } of ALL) {
  test(`${name}: a packet survives in both directions and costs what the wrap says`, (t) => {
    fc.assert(
      fc.property(controlPackets(), (packet) => {
        for (const [sender, receiver] of [
          [client, server],
          [server, client],
        ]) {
          const wire = sender.wrap(packet, new WrapPacketIds(1_700_000_000));
          assert.equal(wire.length, encodeControlPacket(packet, 0).length + sender.overheadBytes);
          const unwrapped = receiver.unwrap(wire);
          assert.ok(unwrapped.ok);
          assert.equal(toHex(encodeControlPacket(unwrapped.packet, 0)), toHex(encodeControlPacket(packet, 0)));
        }
      }),
      { ...seeded(t), numRuns: 50 },
    );
  });

  test(`${name}: every truncation is a verdict`, () => {
    const wire = client.wrap(PACKET, new WrapPacketIds(1));
    const smallest = wire.length - (name === 'none' ? PACKET.payload.length : 0);
    for (let length = 0; length < wire.length; length += 1) {
      assert.equal(server.unwrap(wire.subarray(0, length)).ok, length >= smallest);
    }
  });

  test(`[P38] ${name}: the largest control packet stays within 1250 bytes over IPv6`, () => {
    const payload = new Uint8Array(maxPayloadBytes(server.overheadBytes));
    const wire = server.wrap({ ...PACKET, acks: [1, 2, 3, 4], payload }, new WrapPacketIds(1));
    assert.equal(wire.length + 48, MAX_CONTROL_DATAGRAM_BYTES);
  });
}

for (const { name, client, server } of PROTECTED) {
  test(`[P40] ${name}: one flipped bit anywhere is refused`, () => {
    const wire = client.wrap(PACKET, new WrapPacketIds(1));
    for (let bit = 0; bit < wire.length * 8; bit += 1) {
      const flipped = wire.slice();
      flipped[bit >>> 3] ^= 1 << (bit & 7);
      assert.equal(server.unwrap(flipped).ok, false, `bit ${bit}`);
    }
  });

  test(`${name}: a packet of our own direction and one of another key are refused`, () => {
    assert.equal(server.unwrap(server.wrap(PACKET, new WrapPacketIds(1))).ok, false);
    assert.equal(server.unwrap(plainWrap().wrap(PACKET, new WrapPacketIds(1))).ok, false);
    const foreign = tlsCryptWrap(countingBytes(256, 8), 'client');
    assert.equal(server.unwrap(foreign.wrap(PACKET, new WrapPacketIds(1))).ok, false);
  });
}

test('[P41] a replayed wrap packet id is refused, whatever its order', () => {
  const window = new WrapPacketIdWindow();
  for (const id of [1, 3, 2, 70, 40]) assert.equal(window.accept({ id, time: 5 }, 0), 'fresh');
  for (const id of [70, 40]) assert.equal(window.accept({ id, time: 5 }, 0), 'replayed');
  assert.equal(window.accept({ id: 2, time: 5 }, 0), 'too-old');
  assert.equal(window.accept({ id: 7, time: 5 }, 0), 'fresh');
  assert.equal(window.accept({ id: 6, time: 5 }, 0), 'too-old');
  assert.equal(window.accept({ id: 0, time: 5 }, 0), 'zero');
});

test('[P42] a lower time is refused, a higher one starts the ids anew', () => {
  const window = new WrapPacketIdWindow();
  assert.equal(window.accept({ id: 50, time: 100 }, 0), 'fresh');
  assert.equal(window.accept({ id: 51, time: 99 }, 0), 'stale-time');
  assert.equal(window.accept({ id: 1, time: 101 }, 0), 'fresh');
  assert.equal(window.accept({ id: 51, time: 100 }, 0), 'stale-time');
  assert.equal(window.accept({ id: 1, time: 101 }, 0), 'replayed');
});

test('a gap in wrap packet ids closes after 15 s', () => {
  const window = new WrapPacketIdWindow();
  assert.equal(window.accept({ id: 1, time: 1 }, 0), 'fresh');
  assert.equal(window.accept({ id: 4, time: 1 }, 1000), 'fresh');
  assert.equal(window.accept({ id: 2, time: 1 }, 16_000), 'fresh');
  assert.equal(window.accept({ id: 3, time: 1 }, 16_001), 'too-old');
});

test('the window agrees with a list of everything seen', (t) => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 300 }), { maxLength: 400 }), (ids) => {
      const window = new WrapPacketIdWindow();
      const seen = new Set<number>();
      let highest = 0;
      for (const id of ids) {
        const isFresh = !seen.has(id) && id > highest - 64;
        assert.equal(window.accept({ id, time: 1 }, 0) === 'fresh', isFresh, `id ${id} after ${highest}`);
        if (isFresh) seen.add(id);
        highest = Math.max(highest, id);
      }
    }),
    seeded(t),
  );
});

test('the sender takes a new time when its ids run out', () => {
  const ids = new WrapPacketIds(100, 0xffffffff);
  assert.deepEqual(ids.next(), { id: 0xffffffff, time: 100 });
  assert.deepEqual(ids.next(), { id: 1, time: 101 });
});

test('the key of dynamic tls-crypt mixes the exporter with the base key, and differs from it', () => {
  const exported = countingBytes(256, 100);
  assert.deepEqual(dynamicTlsCryptKey(exported, null), exported);
  const mixed = dynamicTlsCryptKey(exported, KEY);
  assert.deepEqual(
    [...mixed],
    [...exported].map((byte, at) => byte ^ KEY[at]),
  );
  const base = tlsCryptWrap(KEY, 'client').wrap({ ...PACKET, opcode: Opcode.SoftResetV1 }, new WrapPacketIds(1));
  assert.equal(tlsCryptWrap(mixed, 'server').unwrap(base).ok, false);
  const derived = tlsCryptWrap(mixed, 'client').wrap({ ...PACKET, opcode: Opcode.SoftResetV1 }, new WrapPacketIds(1));
  assert.equal(tlsCryptWrap(mixed, 'server').unwrap(derived).ok, true);
});
