import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CODE_PROHIBITED, mayAnswer, writeUnreachable } from '../../../../dataplane/policy/icmp-reply.ts';
import { Ipv4View } from '../../../../dataplane/policy/ip-packet.ts';
import { clampMss } from '../../../../dataplane/policy/mss-clamp.ts';
import { echoRequest, icmpPacket } from '../../../support/inner-packets.ts';
import { hasValidChecksums, internetChecksum, tcpPacket, TcpFlag, udpPacket } from '../../../support/ip-twin.ts';
import { address } from '../../../support/prefixes.ts';
import { randomBytesFrom, randomFrom, SEED, seeded } from '../../../support/seed.ts';

const CLIENT = '10.8.0.2';
const SERVER = '10.60.0.2';

function view(bytes: Uint8Array, offset = 0, length = bytes.length - offset): Ipv4View {
  const packet = new Ipv4View();
  assert.ok(packet.read(bytes, offset, length));
  return packet;
}

function syn(options: readonly number[], flags: number = TcpFlag.Syn): Uint8Array {
  const payload = new Uint8Array(0);
  const ends = { source: [CLIENT, 4000], destination: [SERVER, 80] } as const;
  return tcpPacket({ ...ends, sequence: 1, flags, options: Uint8Array.from(options), payload });
}

test('reads the fields of a packet at any offset', () => {
  const bytes = new Uint8Array(200);
  bytes.set(udpPacket([CLIENT, 1], [SERVER, 2], new Uint8Array(9)), 7);
  const packet = view(bytes, 7, 100);
  assert.deepEqual(
    [
      packet.headerBytes,
      packet.totalBytes,
      packet.protocol,
      packet.source,
      packet.destination >>> 0,
      packet.dontFragment,
    ],
    [20, 37, 17, address(CLIENT), address(SERVER), true],
  );
  assert.deepEqual([packet.payloadOffset(), packet.payloadBytes(), packet.fragmentOffset], [27, 17, 0]);
});

test('refuses every truncation and every lying length', () => {
  const bytes = udpPacket([CLIENT, 1], [SERVER, 2], new Uint8Array(9));
  const packet = new Ipv4View();
  for (let length = 0; length < bytes.length; length++) assert.equal(packet.read(bytes, 0, length), false);
  assert.equal(packet.read(bytes, 1, bytes.length), false);
  for (const [at, value] of [
    [0, 0x44],
    [0, 0x4f],
    [0, 0x65],
    [3, 0],
    [3, 19],
    [2, 0xff],
  ]) {
    const lying = bytes.slice();
    lying[at] = value;
    assert.equal(packet.read(lying, 0, lying.length), false, `byte ${at} = ${value}`);
  }
});

test('[P74] the MSS of a SYN comes down to the ceiling, checksum valid', () => {
  for (const [options, at] of [
    [[2, 4, 5, 0xb4], 42],
    [[1, 1, 1, 2, 4, 5, 0xb4, 0], 45],
    [[8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 2, 4, 5, 0xb4, 1, 1], 52],
  ] as const) {
    for (const flags of [TcpFlag.Syn, TcpFlag.Syn | TcpFlag.Ack]) {
      const bytes = syn(options, flags);
      assert.equal(clampMss(bytes, view(bytes), 1400, false), true);
      assert.equal((bytes[at] << 8) | bytes[at + 1], 1400);
      assert.ok(hasValidChecksums(bytes));
    }
  }
});

test('the MSS is never raised, and no other segment is touched', () => {
  for (const bytes of [
    syn([2, 4, 0x02, 0]),
    syn([2, 4, 5, 0xb4], TcpFlag.Ack),
    syn([0, 4, 5, 0xb4]),
    syn([2, 3, 5, 0]),
  ]) {
    const before = bytes.slice();
    assert.equal(clampMss(bytes, view(bytes), 1400, false), false);
    assert.deepEqual(bytes, before);
  }
});

test('a partial checksum is left to whoever completes it', () => {
  const bytes = syn([2, 4, 5, 0xb4]);
  const field = bytes.slice(36, 38);
  assert.equal(clampMss(bytes, view(bytes), 1400, true), true);
  assert.deepEqual(bytes.slice(36, 38), field);
});

test('[P74] lying TCP and option lengths leave the packet as it was (CVE-2017-7508)', (context) => {
  seeded(context);
  const random = randomFrom(SEED);
  const valid = syn([1, 2, 4, 5, 0xb4, 1, 1, 1]);
  for (let round = 0; round < 20_000; round++) {
    const bytes = valid.slice(0, 20 + Math.floor(random() * (valid.length - 19)));
    bytes[3] = bytes.length;
    for (let change = 0; change < 3; change++) {
      const at = 20 + Math.floor(random() * (bytes.length - 20));
      if (at < bytes.length) bytes[at] = Math.floor(random() * 256);
    }
    const before = bytes.slice();
    const canary = new Uint8Array(bytes.length + 8).fill(0xee);
    canary.set(bytes, 4);
    clampMss(canary, view(canary, 4, bytes.length), 1, false);
    assert.deepEqual([...canary.subarray(0, 4), ...canary.subarray(-4)], Array(8).fill(0xee));
    // Only an MSS option and the checksum may differ.
    const differing = before.filter((byte, i) => byte !== canary[4 + i]).length;
    assert.ok(differing <= 4);
  }
});

test('an ICMP refusal quotes the packet, with valid checksums', () => {
  const offending = udpPacket([CLIENT, 5000], [SERVER, 9], new Uint8Array(100).fill(7));
  const into = new Uint8Array(200);
  const length = writeUnreachable(offending, view(offending), address('10.8.0.1'), CODE_PROHIBITED, 0, into, 3);
  const reply = into.subarray(3, 3 + length);
  const packet = view(into, 3, length);
  assert.deepEqual([packet.source, packet.destination >>> 0], [address('10.8.0.1'), address(CLIENT)]);
  assert.deepEqual([reply[20], reply[21]], [3, 13]);
  assert.equal(internetChecksum(reply.subarray(0, 20)), 0);
  assert.equal(internetChecksum(reply.subarray(20)), 0);
  assert.deepEqual(reply.subarray(28), offending.subarray(0, 28));
});

test('never answers errors, later fragments, multicast or broadcast', () => {
  const answers = (bytes: Uint8Array): boolean => mayAnswer(bytes, view(bytes));
  assert.equal(answers(udpPacket([CLIENT, 1], [SERVER, 2], new Uint8Array(1))), true);
  assert.equal(answers(echoRequest(CLIENT, SERVER, 1)), true);
  for (const type of [3, 4, 5, 11, 12]) {
    assert.equal(answers(icmpPacket(CLIENT, SERVER, type, 0, new Uint8Array(32))), false, `ICMP ${type}`);
  }
  for (const to of ['224.0.0.251', '255.255.255.255', '239.1.2.3']) {
    assert.equal(answers(udpPacket([CLIENT, 1], [to, 2], new Uint8Array(1))), false, to);
  }
  const fragment = udpPacket([CLIENT, 1], [SERVER, 2], new Uint8Array(64));
  fragment[7] = 8;
  assert.equal(answers(fragment), false);
  const short = icmpPacket(CLIENT, SERVER, 8, 0, new Uint8Array(0));
  assert.equal(answers(short), false, 'an ICMP too short to know');
});

test('random bytes never throw', (context) => {
  seeded(context);
  const random = randomFrom(SEED);
  const packet = new Ipv4View();
  const into = new Uint8Array(200);
  for (let round = 0; round < 20_000; round++) {
    const bytes = randomBytesFrom(random, Math.floor(random() * 120));
    if (bytes.length > 3 && random() < 0.9) {
      bytes[0] = 0x40 | (5 + Math.floor(random() * 3));
      bytes[2] = 0;
      bytes[3] = bytes.length;
      bytes[9] = [1, 6, 17][Math.floor(random() * 3)];
    }
    if (!packet.read(bytes, 0, bytes.length)) continue;
    clampMss(bytes, packet, 1000, false);
    if (mayAnswer(bytes, packet)) writeUnreachable(bytes, packet, 1, 13, 0, into, 0);
  }
});
