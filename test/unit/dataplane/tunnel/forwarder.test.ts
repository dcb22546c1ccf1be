import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SlotVerdict } from '../../../../dataplane/io/native-addon.ts';
import { PacketVerdict, REMOTE_WORDS } from '../../../../dataplane/tunnel/packet-batch.ts';
import { ForwarderWorld, GATEWAY } from '../../../support/forwarder-world.ts';
import { echoRequest, icmpPacket, isRefusal } from '../../../support/inner-packets.ts';
import { tcpPacket, TcpFlag, udpPacket } from '../../../support/ip-twin.ts';
import { address } from '../../../support/prefixes.ts';
import { randomBytesFrom, randomFrom, SEED, seeded } from '../../../support/seed.ts';

const A = '10.8.0.2';
const B = '10.8.0.3';
const SERVER = '10.60.0.2';
const TO_SERVER = udpPacket([A, 1000], [SERVER, 53], new Uint8Array(10));
const FROM_SERVER = udpPacket([SERVER, 53], [A, 1000], new Uint8Array(10));

function world(...rules: readonly string[]): ForwarderWorld {
  const made = new ForwarderWorld();
  made.setPolicy(...(rules.length > 0 ? rules : ['*→0.0.0.0/0']));
  made.addPeer(0, A);
  return made;
}

test('verdict numbers are those of the addon', () => {
  for (const [name, number] of Object.entries(SlotVerdict)) assert.equal(Object(PacketVerdict)[name], number, name);
});

test('a granted packet goes to the network, trimmed to its own length', () => {
  const w = world();
  w.fromClients(w.wire(0, Uint8Array.from([...TO_SERVER, 1, 2, 3])));
  assert.deepEqual(w.port.toNetwork, [TO_SERVER]);
});

test('before the first policy nothing passes', () => {
  const w = new ForwarderWorld();
  w.addPeer(0, A);
  w.fromClients(w.wire(0, TO_SERVER));
  w.fromNetwork(FROM_SERVER);
  assert.deepEqual([w.port.toNetwork.length, w.drops()], [0, { NoPolicy: 2 }]);
});

test('a changed policy or group set holds for the next packet of a flow that passed before', () => {
  const w = world('Eng→0.0.0.0/0');
  const send = (): number => {
    w.fromClients(w.wire(0, TO_SERVER));
    return w.port.toNetwork.length;
  };
  assert.equal(send(), 0);
  w.peers.setGroups(0, w.groups.idsOf(['Eng']));
  assert.equal(send(), 1);
  w.setPolicy('Dev→0.0.0.0/0');
  assert.equal(send(), 1);
  w.setPolicy('Eng→0.0.0.0/0');
  assert.equal(send(), 2);
});

test('packets to a client are judged by where they come from: a one-way stream ends with its rule', () => {
  const w = world(`*→${SERVER}/32`);
  w.fromNetwork(FROM_SERVER);
  assert.deepEqual(
    w.port.toClients.map(({ packet }) => packet),
    [FROM_SERVER],
  );
  w.setPolicy('*→192.0.2.0/24');
  w.fromNetwork(FROM_SERVER);
  assert.deepEqual([w.port.toClients.length, w.drops()], [1, { NoRule: 1 }]);
});

test('an ICMP error from a router passes if it quotes a packet to where the client may go', () => {
  const w = world(`*→${SERVER}/32`);
  const error = (quoted: Uint8Array, type = 3) =>
    icmpPacket('198.51.100.1', A, type, 4, Uint8Array.from([0, 0, 5, 0, ...quoted.subarray(0, 28)]));
  w.fromNetwork(error(TO_SERVER), error(TO_SERVER, 11));
  assert.equal(w.port.toClients.length, 2);
  w.fromNetwork(error(udpPacket([A, 1], ['192.0.2.9', 1], new Uint8Array(1))));
  w.fromNetwork(error(udpPacket([B, 1], [SERVER, 1], new Uint8Array(1))));
  w.fromNetwork(icmpPacket('198.51.100.1', A, 3, 4, new Uint8Array(6)));
  assert.deepEqual([w.port.toClients.length, w.drops()], [2, { NoRule: 3 }]);
});

test('an ICMP error of a client passes if it quotes a packet that went to this client', () => {
  const w = world();
  w.addPeer(1, B);
  const error = (to: string, quoted: Uint8Array, type = 3) =>
    icmpPacket(A, to, type, 3, Uint8Array.from([0, 0, 0, 0, ...quoted.subarray(0, 28)]));
  w.fromClients(w.wire(0, error(SERVER, FROM_SERVER)), w.wire(0, error(SERVER, FROM_SERVER, 11)));
  assert.equal(w.port.toNetwork.length, 2);
  const toOther = udpPacket([SERVER, 53], [B, 1000], new Uint8Array(10));
  const firstFragment = icmpPacket(A, SERVER, 3, 3, new Uint8Array(4));
  firstFragment[6] = 0x20;
  w.fromClients(
    w.wire(0, error(SERVER, toOther)),
    w.wire(0, error(SERVER, toOther, 5)),
    w.wire(0, error(B, udpPacket([B, 1], [SERVER, 1], new Uint8Array(1)))),
    w.wire(0, firstFragment),
  );
  assert.deepEqual([w.port.toNetwork.length, w.port.toClients.length, w.drops()], [2, 0, { SpoofedSource: 4 }]);
});

test('the gateway itself speaks ICMP to clients and nothing else', () => {
  const w = world('*→192.0.2.0/24');
  w.fromNetwork(icmpPacket(GATEWAY, A, 0, 0, new Uint8Array(4)));
  w.fromNetwork(udpPacket([GATEWAY, 53], [A, 1], new Uint8Array(1)));
  assert.deepEqual([w.port.toClients.length, w.drops()], [1, { SpoofedSource: 1 }]);
});

test('the gateway is pinged, whole or in fragments, and not otherwise reached', () => {
  const w = world('*→0.0.0.0/0');
  const fragment = echoRequest(A, GATEWAY, 1);
  fragment[7] = 185;
  w.fromClients(w.wire(0, echoRequest(A, GATEWAY, 1)), w.wire(0, fragment));
  assert.equal(w.port.toNetwork.length, 2);
  w.fromClients(w.wire(0, udpPacket([A, 1], [GATEWAY, 1194], new Uint8Array(1))));
  w.fromClients(w.wire(0, icmpPacket(A, GATEWAY, 13, 0, new Uint8Array(16))));
  assert.deepEqual([w.port.toNetwork.length, w.drops()], [2, { SpecialDestination: 2 }]);
});

for (const [name, framing, payload, expected] of [
  ['stub-v2 plain', 'stub-v2', TO_SERVER, {}],
  ['stub-v2 escape 50 00', 'stub-v2', [0x50, 0x00, ...TO_SERVER], {}],
  ['stub-v2 escape 50 0a', 'stub-v2', [0x50, 0x0a, ...TO_SERVER], {}],
  ['stub-v2 LZ4 50 01', 'stub-v2', [0x50, 0x01, ...TO_SERVER], { Compressed: 1 }],
  ['stub-v2 cut off', 'stub-v2', [0x50], { Malformed: 1 }],
  ['comp-lzo plain', 'comp-lzo', [0xfa, ...TO_SERVER], {}],
  ['comp-lzo compressed 66', 'comp-lzo', [0x66, ...TO_SERVER], { Compressed: 1 }],
  ['comp-lzo LZ4 69', 'comp-lzo', [0x69, ...TO_SERVER], { Compressed: 1 }],
  ['comp-lzo swap fb', 'comp-lzo', [0xfb, ...TO_SERVER], { Malformed: 1 }],
  ['no framing, 66', 'none', [0x66, ...TO_SERVER], { Ipv6: 1 }],
  ['no framing, 50 01', 'none', [0x50, 0x01, ...TO_SERVER], { Malformed: 1 }],
  ['no framing, IPv6', 'none', [0x60, ...new Uint8Array(60)], { Ipv6: 1 }],
] as const) {
  test(`[P71] ${name}`, () => {
    const w = new ForwarderWorld();
    w.setPolicy('*→0.0.0.0/0');
    w.addPeer(0, A, { framing });
    w.fromClients(w.wire(0, Uint8Array.from(payload)));
    assert.deepEqual(w.drops(), expected);
    assert.deepEqual(w.port.toNetwork, Object.keys(expected).length === 0 ? [TO_SERVER] : []);
  });
}

test('each packet of a stray flow goes where it belongs, in the middle of a batch', () => {
  const w = new ForwarderWorld(4);
  w.setPolicy('*→0.0.0.0/0');
  w.addPeer(0, A);
  const control = Uint8Array.of(0x20, ...new Uint8Array(20));
  w.fromClients(
    w.wire(0, TO_SERVER),
    w.wire(5, TO_SERVER),
    w.wire(0xffffff, TO_SERVER),
    control,
    Uint8Array.of(0x30, 1, 2, 3),
    Uint8Array.of(0xf8, 1),
    Uint8Array.of(0x48, 0),
    w.wire(8, TO_SERVER),
    w.wire(0, TO_SERVER, { keyId: 3 }),
  );
  assert.equal(w.port.toNetwork.length, 1);
  assert.deepEqual(
    w.port.wire.map(({ peerId }) => peerId),
    [5],
  );
  assert.equal(w.port.unowned.length, 2);
  assert.deepEqual(w.port.control, [{ packet: control, connection: -1, standing: 'known' }]);
  assert.deepEqual(w.drops(), { UnknownOpcode: 1, TooShort: 1, UnknownPeer: 1, UnknownKey: 1 });
});

test('control packets that no data came with are a stranger’s', () => {
  const w = world();
  w.fromClients(Uint8Array.of(0x38, ...new Uint8Array(13)));
  assert.equal(w.port.control[0].standing, 'stranger');
});

test('packets for a client of another thread go to that thread, with what was checked', () => {
  const w = new ForwarderWorld(2);
  w.setPolicy('*→0.0.0.0/0');
  w.addPeer(0, A);
  w.owners.claim(address('10.8.0.9'), 3);
  const toOther = udpPacket([A, 1], ['10.8.0.9', 1], new Uint8Array(1));
  const replyToOther = udpPacket([SERVER, 1], ['10.8.0.9', 1], new Uint8Array(1));
  w.fromClients(w.wire(0, toOther));
  w.fromNetwork(replyToOther);
  assert.deepEqual(w.port.inner, [
    { peerId: 3, packet: toOther, access: 'Checked' },
    { peerId: 3, packet: replyToOther, access: 'Unchecked' },
  ]);
  w.port.hasRoom = false;
  w.fromClients(w.wire(0, toOther));
  assert.deepEqual(w.drops(), { RingFull: 1 });
});

test('a tunnel address belongs to its last claimant, whoever lets go later', () => {
  const w = world();
  w.owners.claim(address(B), 5);
  w.owners.claim(address(B), 9);
  w.owners.release(address(B), 5);
  assert.equal(w.owners.peerIdAt(address(B)), 9);
});

test('a packet with DF that is too big for the client is answered with the MTU that fits', () => {
  const w = new ForwarderWorld();
  w.setPolicy('*→0.0.0.0/0');
  w.addPeer(0, A, { tunMtu: 1200 });
  w.fromNetwork(udpPacket([SERVER, 53], [A, 1000], new Uint8Array(1300)));
  const [answer] = w.port.toNetwork;
  assert.deepEqual([answer[20], answer[21], (answer[26] << 8) | answer[27]], [3, 4, 1200]);
  assert.deepEqual([...answer.subarray(12, 20)], [10, 8, 0, 2, 10, 60, 0, 2], 'no address of the gateway itself');
  assert.deepEqual(w.drops(), { TooBig: 1 });
});

test('a client of another thread whose packet is too big is told by that thread', () => {
  const w = new ForwarderWorld(2);
  w.setPolicy('*→0.0.0.0/0');
  w.addPeer(0, A, { tunMtu: 1200 });
  w.owners.claim(address('10.8.0.9'), 3);
  w.fromNetwork(udpPacket(['10.8.0.9', 1], [A, 1], new Uint8Array(1300)));
  const [{ peerId, packet, access }] = w.port.inner;
  assert.deepEqual([peerId, access, packet[20], packet[21]], [3, 'Checked', 3, 4]);
  assert.deepEqual([w.port.toNetwork.length, w.drops()], [0, { TooBig: 1 }]);
});

for (const [name, options, reason] of [
  ['a loose source route', [1, 131, 7, 4, 10, 60, 9, 9], 'SourceRouted'],
  ['a strict source route', [137, 7, 4, 10, 60, 9, 9, 0], 'SourceRouted'],
  ['an option that lies about its length', [7, 1, 131, 7, 4, 10, 60, 9], 'SourceRouted'],
  ['an option that ends behind the header', [7, 9, 1, 1], 'SourceRouted'],
  ['a router alert', [148, 4, 0, 0], null],
  ['an end of options before anything', [0, 131, 7, 4], null],
] as const) {
  test(`a packet with ${name} ${reason === null ? 'passes' : 'is dropped: its destination is not its end'}`, () => {
    const w = world(`*→${SERVER}/32`);
    const packet = Uint8Array.from([...TO_SERVER.subarray(0, 20), ...options, ...TO_SERVER.subarray(20)]);
    packet[0] = 0x45 + options.length / 4;
    new DataView(packet.buffer).setUint16(2, packet.length);
    w.fromClients(w.wire(0, packet));
    assert.equal(w.port.toNetwork.length, reason === null ? 1 : 0);
    assert.deepEqual(w.drops(), reason === null ? {} : { [reason]: 1 });
  });
}

test('inner packets above the tunnel MTU are dropped', () => {
  const w = world();
  w.fromClients(w.wire(0, udpPacket([A, 1], [SERVER, 1], new Uint8Array(1500))));
  assert.deepEqual(w.drops(), { TooBig: 1 });
});

test('[P74] the MSS comes down in both directions', () => {
  const w = world();
  const syn = (from: string, to: string) =>
    tcpPacket({
      source: [from, 1],
      destination: [to, 2],
      sequence: 1,
      flags: TcpFlag.Syn,
      options: Uint8Array.of(2, 4, 5, 0xb4),
      payload: new Uint8Array(0),
    });
  w.fromClients(w.wire(0, syn(A, SERVER)));
  w.fromNetwork(syn(SERVER, A));
  for (const packet of [w.port.toNetwork[0], w.port.toClients[0].packet])
    assert.equal((packet[42] << 8) | packet[43], 1400);
});

test('packets go out under the header of their peer and the key that sends', () => {
  const w = new ForwarderWorld();
  w.setPolicy('*→0.0.0.0/0');
  w.addPeer(3, A);
  w.addPeer(4, B, { format: 'V1', framing: 'comp-lzo' });
  w.fromNetwork(FROM_SERVER, udpPacket([SERVER, 1], [B, 1], new Uint8Array(1)));
  assert.deepEqual(
    w.port.toClients.map(({ header }) => header),
    [0x48000003, 0x30000000],
  );
  w.peers.keys.install(3, 5, 77, 'secondary', w.now + 60_000);
  w.fromNetwork(FROM_SERVER);
  assert.equal(w.port.toClients[2].header, 0x48000003);
  w.fromClients(w.wire(3, TO_SERVER, { keyId: 5 }));
  w.fromNetwork(FROM_SERVER);
  assert.equal(w.port.toClients[3].header, 0x4d000003);
  assert.deepEqual(w.port.events, [{ event: 'keySwitched', peer: 3, keyId: 5 }]);
});

test('a waiting key sends once its time is over, without a packet on it; the report is repeated until there is room', () => {
  const w = world();
  w.peers.keys.install(0, 1, 9, 'secondary', w.now + 60_000);
  w.port.hasRoom = false;
  w.now += 60_001;
  w.forwarder.liveness.scan(w.now);
  assert.equal(w.peers.keys.sealKeyId(0), 1);
  assert.deepEqual(w.port.events, []);
  w.port.hasRoom = true;
  w.now += 1_001;
  w.forwarder.liveness.scan(w.now);
  w.now += 1_001;
  w.forwarder.liveness.scan(w.now);
  assert.deepEqual(w.port.events, [{ event: 'keySwitched', peer: 0, keyId: 1 }]);
});

for (const [name, usage] of [
  ['7/8 of the AEAD limit', [2 ** 35, 2 ** 34, 2 ** 33, 2 ** 32, 0, 0, 0, 0]],
  ['packet id 0xff000000', [0, 0, 0, 0, 0, 0, 0, 0xff000000]],
  ['epoch 0xf000', [0, 0, 0, 0, 0, 1, 0xf000, 0]],
  ['2^35 failed tags', [0, 0, 0, 0, 2 ** 35 + 1, 0, 0, 0]],
] as const) {
  test(`a key at ${name} is reported once`, () => {
    const w = world();
    w.port.usage = Float64Array.from(usage);
    for (let second = 0; second < 5; second++) {
      w.now += 1_001;
      w.fromClients(w.wire(0, TO_SERVER));
      w.forwarder.liveness.scan(w.now);
    }
    assert.deepEqual(w.port.events, [{ event: 'keyExhausted', peer: 0, keyId: 0 }]);
  });
}

test('a float is reported at most once in 100 ms, and only for the newest packet', () => {
  const w = world();
  const from = (port: number, packet: Uint8Array): void => {
    const count = w.lay([packet]);
    w.batch.remoteWords[0] = port;
    w.forwarder.clients.receiveUdp(w.batch, count, w.now);
  };
  from(0, w.wire(0, TO_SERVER, { id: 10 }));
  from(7, w.wire(0, TO_SERVER, { id: 9 }));
  assert.deepEqual(w.port.events, [], 'overtaken');
  for (let id = 11; id < 20; id++) from(7, w.wire(0, TO_SERVER, { id }));
  assert.equal(w.port.events.length, 1);
  w.now += 100;
  from(7, w.wire(0, TO_SERVER, { id: 20 }));
  assert.equal(w.port.events.length, 2);
  assert.equal(w.port.toNetwork.length, 12, 'delivered all the same');
});

test('a float is noticed in the middle of a batch', () => {
  const w = world();
  const count = w.lay([1, 2, 3, 4].map((id) => w.wire(0, TO_SERVER, { id })));
  w.batch.source.set([0, 0, 1, 1]);
  w.batch.remoteWords[REMOTE_WORDS] = 7;
  w.forwarder.clients.receiveUdp(w.batch, count, w.now);
  assert.equal(w.port.events.length, 1);
  assert.equal(w.port.toNetwork.length, 4);
  w.now += 100;
  w.batch.remoteWords[0] = 8;
  w.forwarder.clients.receiveUdp(w.batch, w.lay([w.wire(0, TO_SERVER, { id: 5 })]), w.now);
  assert.equal(w.port.events.length, 2, 'the same row of another batch');
});

test('[P67] on a stream one bad tag ends the connection; an unknown key does not', () => {
  const w = new ForwarderWorld();
  w.setPolicy('*→0.0.0.0/0');
  const peer = w.addPeer(0, A, {}, 5);
  w.fromStream(5, peer, w.wire(0, TO_SERVER), w.wire(0, TO_SERVER, { keyId: 4 }));
  assert.deepEqual([w.port.closed, w.port.toNetwork.length], [[], 1]);
  w.fromStream(5, peer, w.wire(0, Uint8Array.of(0xba, 0xdb, 0)));
  assert.deepEqual(w.port.closed, [5]);
});

test('refusals go to the client ten times a second, and never for multicast or broadcast', () => {
  const w = world('*→192.0.2.0/24');
  for (let i = 0; i < 30; i++) w.fromClients(w.wire(0, TO_SERVER));
  assert.equal(w.port.toClients.filter(({ packet }) => isRefusal(packet)).length, 10);
  w.now += 1000;
  for (const to of ['224.0.0.251', '255.255.255.255', '10.8.3.255']) {
    w.fromClients(w.wire(0, udpPacket([A, 1], [to, 1], new Uint8Array(1))));
  }
  assert.equal(w.port.toClients.length, 10);
  w.fromClients(w.wire(0, TO_SERVER));
  assert.equal(w.port.toClients.length, 11);
});

test('[P102] random packets never throw, and each one is accounted for', (context) => {
  seeded(context);
  const random = randomFrom(SEED);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)];
  const w = new ForwarderWorld(2);
  w.setPolicy('*→10.60.0.0/16', '*→10.8.0.0/22', 'Eng→0.0.0.0/0');
  w.addPeer(0, A, { framing: 'stub-v2' });
  w.addPeer(2, B, { framing: 'comp-lzo' });
  const valid = [
    TO_SERVER,
    FROM_SERVER,
    echoRequest(A, GATEWAY, 1),
    udpPacket([A, 1], [B, 2], new Uint8Array(30)),
    icmpPacket(SERVER, A, 3, 4, TO_SERVER),
  ];
  const mutate = (packet: Uint8Array): Uint8Array => {
    const changed = packet.slice(0, random() < 0.8 ? packet.length : Math.floor(random() * packet.length));
    for (let change = 0; change < 2 && random() < 0.5; change++)
      changed[Math.floor(random() * changed.length)] = Math.floor(random() * 256);
    return changed;
  };
  for (let round = 0; round < 3_000; round++) {
    const packets = Array.from({ length: 8 }, () => {
      const inner = random() < 0.1 ? randomBytesFrom(random, Math.floor(random() * 80)) : mutate(pick(valid));
      const framed = random() < 0.2 ? Uint8Array.of(pick([0x50, 0xfa, 0x66]), pick([0, 1, 10]), ...inner) : inner;
      const wire = w.wire(pick([0, 0, 2, 1, 4, 0xffffff]), framed);
      // Not the packet id: without a real tag, a wild one would end its window.
      if (random() < 0.1) wire[Math.floor(random() * 4)] = Math.floor(random() * 256);
      return random() < 0.02 ? wire.subarray(0, Math.floor(random() * 10)) : wire;
    });
    w.fromClients(...packets);
    for (let slot = 0; slot < packets.length; slot++) {
      assert.ok([2, 16, 17, 18].includes(w.batch.verdict[slot]), `verdict ${w.batch.verdict[slot]}`);
    }
    w.fromNetwork(...Array.from({ length: 4 }, () => mutate(pick(valid))));
  }
  // The corpus gets inside: every layer was passed by some.
  for (const reached of [w.port.toNetwork, w.port.toClients, w.port.wire]) assert.ok(reached.length > 100);
  for (const reason of ['Ipv6', 'Malformed', 'SpoofedSource', 'Compressed', 'UnknownPeer', 'NotGranted']) {
    assert.ok(w.drops()[reason] > 0, reason);
  }
});
