import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DataCipher } from '../../../../dataplane/data-channel.ts';
import { loadAddon } from '../../../../dataplane/io/load-addon.ts';
import { SlotVerdict } from '../../../../dataplane/io/native-addon.ts';
import { segmentPacket, tcpPacket, TcpFlag, udpPacket } from '../../../support/ip-twin.ts';
import { fromHex as hex, toHex } from '../../../support/hex.ts';
import { NativeBatch } from '../../../support/native-batch.ts';
import { randomBytesFrom, randomFrom } from '../../../support/seed.ts';

const addon = loadAddon();
const size = { capacity: 2048, bytes: 1 << 20, rows: 1 };
const input = new NativeBatch(addon, size);
const output = new NativeBatch(addon, size);

const PING = hex('2a187bf3641eb4cb07ed2d0a981fc748');
// Protocol file, A.2: block of the constructed PRF.
const BLOCK = hex(`26215356c2111695129f30d1ea56d9688b92a8955219cf1991fb3d4f12c615e7
  e9c3f1b00c28742c475b76f72e1a19f320b6303e9fe7363fd289c52d5f9fe7b7a2c18906a3614000247fb1af03e84d70e0cc35e39a58b4f9b56e4ffee974a0db
  26c024579811bfa549afad857499d6abbd72ec3e61cee983d3c074c4b59fa7cbeef596f3e9b621973ab41b90fd141e50713c0ebdf6f02a9483c72d6c1462a8ad
  1178501624d9df8d90c84a60ca2aa8ac9acaf45d2719a45d78e5d22f1fdce3bbcc1e2563a7a9c37e524c9c60bc12320a09ef24860dfc7119e79246fcfcc9892d
  efa9e3ddb7cdd40b788737aa971cb0708acb05814e40153c1a28241cedb56c65`);

interface Side {
  readonly cipher: DataCipher;
  readonly epochFormat?: boolean;
  readonly key: Uint8Array;
  readonly iv: Uint8Array;
}

/** The sender and the receiver of one direction: each has the other's half, with a spare for the unused one. */
function pair({ cipher, epochFormat = false, key, iv }: Side): { sender: number; receiver: number } {
  const spare = { key: key.map((byte) => byte ^ 0xff), iv: iv.map((byte) => byte ^ 0xff) };
  return {
    sender: addon.keyInstall({
      cipher,
      epochFormat,
      encryptKey: key,
      encryptIv: iv,
      decryptKey: spare.key,
      decryptIv: spare.iv,
    }),
    receiver: addon.keyInstall({
      cipher,
      epochFormat,
      encryptKey: spare.key,
      encryptIv: spare.iv,
      decryptKey: key,
      decryptIv: iv,
    }),
  };
}

function sealAll(key: number, header: number, packets: readonly Uint8Array[], flags = 0): Uint8Array[] {
  const count = input.lay(packets);
  for (let i = 0; i < count; i++) {
    input.arrays.key[i] = key;
    input.arrays.header[i] = header;
    input.arrays.flags[i] = flags;
  }
  assert.equal(addon.seal(input.handle, 0, count, output.handle), count);
  return output.packets(output.arrays.count[0]);
}

function openOne(key: number, packet: Uint8Array): { verdict: number; plain: string; packetId: number; epoch: number } {
  input.lay([packet]);
  input.arrays.key[0] = key;
  addon.open(input.handle, 1);
  const { verdict, packetId, epoch } = input.arrays;
  return { verdict: verdict[0], plain: toHex(input.packet(0)), packetId: packetId[0], epoch: epoch[0] };
}

function usage(key: number): Record<string, number> {
  const out = new Float64Array(8);
  addon.keyUsage(key, out);
  const [sealed, sealedBlocks, opened, openedBlocks, failed, sendEpoch, receiveEpoch, lastId] = out;
  return { sealed, sealedBlocks, opened, openedBlocks, failed, sendEpoch, receiveEpoch, lastId };
}

test('reproduces the live session of A.1 in both directions', () => {
  const key = addon.keyInstall({
    cipher: 'AES-256-GCM',
    epochFormat: false,
    encryptKey: hex('a762e8f8ce356ecc88c58cacc20643101dadb2fdae4902b1717ef1de7765bcc8'),
    encryptIv: hex('25e3cab17fdeea83'),
    decryptKey: hex('201a988f373fd8b58b90557e50d55a2429d09816c58d130c46738231f767b77f'),
    decryptIv: hex('2dd9531952b9a018'),
  });
  const request = hex(
    '480000000000000275f806048ee2ebf61e80d7ab4fd99a7bc17da06bf736e50c092837b4b3987c92d6bc8fa58af77c1597a6e3bd',
  );
  const plain = '4500001c00010000400156440a4d08020a4d08010800f7ff00000000';
  assert.deepEqual(openOne(key, request), { verdict: SlotVerdict.Opened, plain, packetId: 2, epoch: 0 });
  const [reply] = sealAll(key, 0x48000000, [hex('4500001c94e000004001c1640a4d08010a4d08020000000000000000')]);
  const expected =
    '480000000000000157553711b7f20806f0e57c87152c17eed3e3bad79cf2328049d46e692ace084f9814711f15e7b1075f948bce';
  assert.equal(toHex(reply), expected);
  addon.keyFree(key);
});

for (const { name, cipher, header, wire } of [
  {
    name: 'V2 AES-256-GCM',
    cipher: 'AES-256-GCM',
    header: 0x48000102,
    wire: '48000102 00000001 e0ff4e3cc61051230ab2730a7ba2ec4c b2baa36b9fd8ddebdf36de60bb504119',
  },
  {
    name: 'V2 CHACHA20-POLY1305',
    cipher: 'CHACHA20-POLY1305',
    header: 0x48000102,
    wire: '48000102 00000001 93eb7fd5ffa7a91050ac2a841d3b0741 9883a53a2baf2b6dd9c41165544f3cea',
  },
  {
    name: 'V1 AES-256-GCM',
    cipher: 'AES-256-GCM',
    header: 0x30000000,
    wire: '30 00000001 3afcfac35b18949ec341587dfb033a9a b2baa36b9fd8ddebdf36de60bb504119',
  },
] as const)
  test(`reproduces the ping of A.2: ${name}`, () => {
    const { sender, receiver } = pair({ cipher, key: BLOCK.slice(128, 160), iv: BLOCK.slice(192, 200) });
    const [sealed] = sealAll(sender, header, [PING]);
    assert.equal(toHex(sealed), toHex(hex(wire)));
    assert.deepEqual(openOne(receiver, sealed), { verdict: 1, plain: toHex(PING), packetId: 1, epoch: 0 });
  });

test('reproduces the epoch keys of A.4', () => {
  const E1 = Uint8Array.from({ length: 32 }, (_, i) => i);
  const { sender, receiver } = pair({ cipher: 'AES-256-GCM', epochFormat: true, key: E1, iv: new Uint8Array(0) });
  const [first] = sealAll(sender, 0x48000102, [PING]);
  const wire1 = '48000102 0001000000000001 c2fe07b4542687fb92a265089da510f7 4ede5adf2f9ce833da67c839485e8970';
  assert.equal(toHex(first), toHex(hex(wire1)));
  addon.keyForwardForTest(sender, 0, 2);
  const [second] = sealAll(sender, 0x48000102, [PING]);
  const wire2 = '48000102 0002000000000001 b2b1afbd0d32ea732be948cf8ca9d09a ec08685aed47fd39484b5c99a7097064';
  assert.equal(toHex(second), toHex(hex(wire2)));
  assert.deepEqual(openOne(receiver, second), { verdict: 1, plain: toHex(PING), packetId: 1, epoch: 2 });
  assert.deepEqual(openOne(receiver, first), { verdict: 1, plain: toHex(PING), packetId: 1, epoch: 1 });
});

for (const cipher of ['AES-128-GCM', 'AES-192-GCM', 'AES-256-GCM', 'CHACHA20-POLY1305'] as const)
  for (const format of ['V1', 'V2', 'epoch'] as const)
    for (const flags of [0, 1, 2, 3])
      test(`what ${cipher} ${format} flags ${flags} seals, it opens; nothing else`, () => {
        const bytes = format === 'epoch' ? 32 : ({ 'AES-128-GCM': 16, 'AES-192-GCM': 24 }[cipher as string] ?? 32);
        const random = randomFrom(bytes * 8 + flags);
        const key = randomBytesFrom(random, bytes);
        const iv = randomBytesFrom(random, 8);
        const { sender, receiver } = pair({ cipher, epochFormat: format === 'epoch', key, iv });
        const header = format === 'V1' ? 0x37000000 : 0x4fabcdef;
        const plains = [1, 15, 16, 17, 40, 1400].map((length) => randomBytesFrom(random, length));
        for (const [index, sealed] of sealAll(sender, header, plains, flags).entries()) {
          const prefix = (flags & 1) * 2;
          const wire = sealed.slice(prefix);
          if (prefix > 0) assert.equal((sealed[0] << 8) | sealed[1], wire.length);
          const plain = (flags & 2 ? 'fa' : '') + toHex(plains[index]);
          const epoch = format === 'epoch' ? 1 : 0;
          assert.deepEqual(openOne(receiver, wire), { verdict: 1, plain, packetId: index + 1, epoch });
        }
        const [small] = sealAll(sender, header, [PING]);
        for (let length = 0; length < small.length; length++)
          assert.notEqual(openOne(receiver, small.slice(0, length)).verdict, SlotVerdict.Opened);
        for (let bit = 0; bit < small.length * 8; bit++) {
          // V1 leaves its first byte unprotected: only a flip of the opcode matters there.
          if (format === 'V1' && bit < 3) continue;
          const flipped = small.slice();
          flipped[bit >> 3] ^= 1 << (bit & 7);
          const { verdict } = openOne(receiver, flipped);
          assert.ok(verdict >= SlotVerdict.BadTag && verdict <= SlotVerdict.BadEpoch, `bit ${bit}: ${verdict}`);
        }
        addon.keyFree(sender);
        addon.keyFree(receiver);
      });

test('[P65] packet id 0 and epoch 0 are refused by name', () => {
  const classic = pair({ cipher: 'AES-256-GCM', key: BLOCK.slice(0, 32), iv: BLOCK.slice(64, 72) });
  const [sealed] = sealAll(classic.sender, 0x48000001, [PING]);
  sealed.fill(0, 4, 8);
  assert.equal(openOne(classic.receiver, sealed).verdict, SlotVerdict.BadPacketId);
  const epochs = pair({ cipher: 'AES-256-GCM', epochFormat: true, key: BLOCK.slice(0, 32), iv: new Uint8Array(0) });
  const [withEpoch] = sealAll(epochs.sender, 0x48000001, [PING]);
  assert.equal(openOne(epochs.receiver, withEpoch.fill(0, 6, 12)).verdict, SlotVerdict.BadPacketId);
  assert.equal(openOne(epochs.receiver, withEpoch.fill(0, 4, 6)).verdict, SlotVerdict.BadEpoch);
  assert.equal(openOne(epochs.receiver, Uint8Array.of(0x48, 1, 2)).verdict, SlotVerdict.TooShort);
});

test('[P63] only an authentic packet moves the receiving epoch; eight ahead at most, one behind', () => {
  const { sender, receiver } = pair({
    cipher: 'AES-256-GCM',
    epochFormat: true,
    key: BLOCK.slice(0, 32),
    iv: new Uint8Array(0),
  });
  const at = new Map<number, Uint8Array>();
  for (const epoch of [1, 2, 3, 9, 10, 17, 18]) {
    addon.keyForwardForTest(sender, 0, epoch);
    at.set(epoch, sealAll(sender, 0x48000001, [PING])[0]);
  }
  const verdictOf = (epoch: number): number => openOne(receiver, at.get(epoch) ?? assert.fail()).verdict;
  const forged = (at.get(9) ?? assert.fail()).slice();
  forged[20] ^= 1;
  assert.equal(openOne(receiver, forged).verdict, SlotVerdict.BadTag);
  assert.equal(usage(receiver)['receiveEpoch'], 1);
  assert.equal(verdictOf(10), SlotVerdict.BadEpoch);
  assert.equal(verdictOf(9), SlotVerdict.Opened);
  assert.deepEqual([usage(receiver)['receiveEpoch'], usage(receiver)['sendEpoch']], [9, 9]);
  assert.equal(verdictOf(1), SlotVerdict.Opened, 'the previous key still opens');
  assert.equal(verdictOf(2), SlotVerdict.BadEpoch);
  assert.equal(verdictOf(18), SlotVerdict.BadEpoch);
  assert.equal(verdictOf(17), SlotVerdict.Opened);
  assert.equal(verdictOf(9), SlotVerdict.Opened);
  assert.equal(verdictOf(1), SlotVerdict.BadEpoch);
});

test('epochs end at 65535 and never wrap', () => {
  const { sender, receiver } = pair({
    cipher: 'AES-128-GCM',
    epochFormat: true,
    key: BLOCK.slice(0, 32),
    iv: new Uint8Array(0),
  });
  for (let epoch = 8; epoch < 65_535; epoch += 8) {
    addon.keyForwardForTest(sender, 0, epoch);
    assert.equal(openOne(receiver, sealAll(sender, 0x48000001, [PING])[0]).verdict, SlotVerdict.Opened);
  }
  addon.keyForwardForTest(sender, 0, 65_535);
  assert.equal(openOne(receiver, sealAll(sender, 0x48000001, [PING])[0]).verdict, SlotVerdict.Opened);
  addon.keyForwardForTest(sender, 2 ** 48 - 1, 0);
  assert.equal(sealAll(sender, 0x48000001, [PING]).length, 0);
  assert.equal(input.arrays.verdict[0], SlotVerdict.KeyExhausted);
  assert.equal(usage(sender)['sendEpoch'], 65_535);
});

test('an epoch key whose counter is used up moves to the next epoch', () => {
  const { sender, receiver } = pair({
    cipher: 'AES-256-GCM',
    epochFormat: true,
    key: BLOCK.slice(0, 32),
    iv: new Uint8Array(0),
  });
  addon.keyForwardForTest(sender, 2 ** 48 - 2, 0);
  const [last, next] = sealAll(sender, 0x48000001, [PING, PING]);
  assert.deepEqual(openOne(receiver, last).packetId, 2 ** 48 - 1);
  const { packetId, epoch, verdict } = openOne(receiver, next);
  assert.deepEqual({ packetId, epoch, verdict }, { packetId: 1, epoch: 2, verdict: SlotVerdict.Opened });
});

test('a packet id is never used twice: at 0xffffffff the key stops', () => {
  const { sender, receiver } = pair({ cipher: 'AES-256-GCM', key: BLOCK.slice(0, 32), iv: BLOCK.slice(64, 72) });
  addon.keyForwardForTest(sender, 0xffff_fffd, 0);
  const sealed = sealAll(sender, 0x48000001, [PING, PING, PING]);
  assert.deepEqual(
    sealed.map((packet) => openOne(receiver, packet).packetId),
    [0xffff_fffe, 0xffff_ffff],
  );
  addon.keyForwardForTest(sender, 5, 0);
  assert.equal(usage(sender)['lastId'], 0xffff_ffff);
  assert.equal(sealAll(sender, 0x48000001, [PING]).length, 0);
  assert.equal(input.arrays.verdict[0], SlotVerdict.KeyExhausted);
});

test('usage counts packets, blocks and failures', () => {
  const { sender, receiver } = pair({ cipher: 'AES-256-GCM', key: BLOCK.slice(0, 32), iv: BLOCK.slice(64, 72) });
  const [a, b] = sealAll(sender, 0x48000001, [PING, new Uint8Array(33)]);
  openOne(receiver, a);
  openOne(receiver, b);
  openOne(
    receiver,
    b.map((byte, i) => (i === 20 ? byte ^ 1 : byte)),
  );
  const { sealed, sealedBlocks, lastId } = usage(sender);
  assert.deepEqual({ sealed, lastId }, { sealed: 2, lastId: 2 });
  assert.ok(sealedBlocks >= 4 && sealedBlocks <= 6);
  const { opened, openedBlocks, failed } = usage(receiver);
  assert.deepEqual({ opened, openedBlocks, failed }, { opened: 2, openedBlocks: 4, failed: 1 });
});

test('1,000 packets to seal and to open take 16 calls', () => {
  const { sender } = pair({ cipher: 'AES-256-GCM', key: BLOCK.slice(0, 32), iv: BLOCK.slice(64, 72) });
  const before = addon.counters();
  let sealed = 0;
  for (let left = 1000; left > 0; left -= 64)
    sealed += sealAll(
      sender,
      0x48000001,
      Array.from({ length: Math.min(64, left) }, () => PING),
    ).length;
  const after = addon.counters();
  assert.equal(sealed, 1000);
  assert.equal(after['sealCalls'] - before['sealCalls'], 16);
});

const SUPER: readonly { name: string; packet: Uint8Array; segmentBytes: number; offload: number }[] = [
  ...[1, 2, 3, 44].map((segments) => {
    const payload = Uint8Array.from({ length: segments * 1348 - (segments > 1 ? 700 : 0) }, (_, i) => (i * 7) & 0xff);
    const flags = TcpFlag.Ack | TcpFlag.Push | TcpFlag.Fin | TcpFlag.Cwr;
    const options = hex('0101080a0102030405060708');
    const fields = {
      source: ['10.0.0.1', 80],
      destination: ['10.8.0.2', 4000],
      sequence: 0xffff_f000,
      options,
      flags,
      id: 0xfffe,
    } as const;
    return { name: `TCP × ${segments}`, packet: tcpPacket({ ...fields, payload }), segmentBytes: 1348, offload: 0x81 };
  }),
  ...[1, 5, 40].map((segments) => {
    const payload = Uint8Array.from({ length: segments * 1200 + 3 }, (_, i) => (i * 11) & 0xff);
    return {
      name: `UDP × ${segments + 1}`,
      packet: udpPacket(['10.0.0.1', 53], ['10.8.0.2', 4000], payload),
      segmentBytes: 1200,
      offload: 0x85,
    };
  }),
  // Headers go over the payload of more than one earlier packet.
  {
    name: 'TCP × 9 with the longest header, 12 bytes each',
    packet: tcpPacket({
      source: ['10.0.0.1', 80],
      destination: ['10.8.0.2', 4000],
      sequence: 7,
      options: new Uint8Array(40).fill(1),
      payload: Uint8Array.from({ length: 100 }, (_, i) => i + 1),
    }),
    segmentBytes: 12,
    offload: 0x81,
  },
];

for (const { name, packet, segmentBytes, offload } of SUPER)
  for (const flags of [0, 3])
    test(`a super-packet, ${name}, flags ${flags}, is sealed as the packets it stands for`, () => {
      const { sender, receiver } = pair({ cipher: 'AES-256-GCM', key: BLOCK.slice(0, 32), iv: BLOCK.slice(64, 72) });
      input.lay([PING, packet, PING]);
      const { key, header, segmentBytes: segment, offload: type } = input.arrays;
      key.fill(sender, 0, 3);
      header.fill(0x48000001, 0, 3);
      segment[1] = segmentBytes;
      type[1] = offload;
      input.arrays.flags.fill(flags, 0, 3);
      assert.equal(addon.seal(input.handle, 0, 3, output.handle), 3);
      const expected = [PING, ...segmentPacket(packet, segmentBytes), PING].map(toHex);
      const sealed = output.packets(output.arrays.count[0]);
      const opened = sealed.map((wire) => openOne(receiver, wire.slice(flags === 0 ? 0 : 2)));
      assert.deepEqual(
        opened.map(({ plain }) => (flags === 0 ? plain : plain.slice(2))),
        expected,
      );
      assert.deepEqual(
        opened.map(({ packetId }) => packetId),
        expected.map((_, index) => index + 1),
      );
      const sources = [...output.arrays.source.subarray(0, expected.length)];
      assert.deepEqual(
        sources,
        expected.map((_, index) => (index === 0 ? 0 : index === expected.length - 1 ? 2 : 1)),
      );
    });

test('the checksum the kernel left to the device is made while sealing', () => {
  const { sender, receiver } = pair({ cipher: 'AES-256-GCM', key: BLOCK.slice(0, 32), iv: BLOCK.slice(64, 72) });
  const packet = tcpPacket({
    source: ['10.0.0.1', 80],
    destination: ['10.8.0.2', 4000],
    sequence: 5,
    payload: hex('010203'),
  });
  const partial = packet.slice();
  const view = new DataView(partial.buffer);
  const pseudo = [0x0a00 + 0x0001 + 0x0a08 + 0x0002 + 6 + (packet.length - 20)][0];
  view.setUint16(36, pseudo);
  input.lay([partial]);
  input.arrays.key[0] = sender;
  input.arrays.header[0] = 0x48000001;
  input.arrays.offload[0] = 0x80;
  input.arrays.checksumStart[0] = 20;
  input.arrays.checksumOffset[0] = 16;
  addon.seal(input.handle, 0, 1, output.handle);
  assert.equal(openOne(receiver, output.packet(0)).plain, toHex(packet));
});

test('sealing stops before an input that does not fit and gives up one that never will', () => {
  const { sender } = pair({ cipher: 'AES-256-GCM', key: BLOCK.slice(0, 32), iv: BLOCK.slice(64, 72) });
  const small = new NativeBatch(addon, { capacity: 3, bytes: 4000, rows: 1 });
  input.lay([new Uint8Array(1000), new Uint8Array(1000), new Uint8Array(2500), new Uint8Array(5000), PING]);
  input.arrays.key.fill(sender, 0, 5);
  input.arrays.header.fill(0x48000001, 0, 5);
  assert.equal(addon.seal(input.handle, 0, 5, small.handle), 2);
  assert.equal(small.arrays.count[0], 2);
  assert.equal(addon.seal(input.handle, 2, 5, small.handle), 3);
  assert.equal(addon.seal(input.handle, 3, 5, small.handle), 5);
  assert.equal(small.arrays.count[0], 1);
  assert.equal(input.arrays.verdict[3], SlotVerdict.Unsealable);
});
