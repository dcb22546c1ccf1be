import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Opcode } from '../../dataplane/protocol/opcode.ts';
import { formatStaticKey } from '../../dataplane/protocol/static-key.ts';
import {
  formatServerKeyPem,
  makeWrappedClientKey,
  tlsCryptV2ServerKey,
  timestampMetadata,
} from '../../dataplane/protocol/tls-crypt-v2.ts';
import { tlsCryptWrap } from '../../dataplane/protocol/control-wrap.ts';
import { concatBytes } from '../../dataplane/protocol/bytes.ts';
import { WrapPacketIds } from '../../dataplane/protocol/wrap-packet-id.ts';
import type { Remote } from '../../dataplane/sessions/engine-io.ts';
import { dataPlaneConfig } from '../support/data-plane-configs.ts';
import { countingBytes, fromHex, toHex } from '../support/hex.ts';
import { CLIENT_SESSION_ID, clientPacket, decodePlain } from '../support/raw-control.ts';
import { SimulatedWorld, udpRemote } from '../support/simulated-world.ts';

const REMOTE = udpRemote('192.0.2.7', 5000);

/** What the server sends back at once to one packet. */
function answers(world: SimulatedWorld, bytes: Uint8Array, remote: Remote = REMOTE): readonly Uint8Array[] {
  const before = world.transmitted.length;
  world.receive(remote, bytes);
  world.advance(0);
  return world.transmitted.slice(before).map((transmission) => transmission.bytes);
}

function openingCount(world: SimulatedWorld): number {
  return world.engine.stats().opening;
}

function cookieFor(world: SimulatedWorld, remote: Remote = REMOTE, sessionId = CLIENT_SESSION_ID): Uint8Array {
  const [answer] = answers(world, clientPacket({ sessionId }), remote);
  return decodePlain(answer).sessionId;
}

for (const [name, bytes] of [
  ['[P4] opcode 0', fromHex('00010203040506070800 00000000'.replaceAll(' ', ''))],
  ['[P4] opcode 1', fromHex('0801020304050607080000000000')],
  ['[P4] opcode 2', fromHex('1001020304050607080000000000')],
  ['[P4] opcode 8', fromHex('4001020304050607080000000000')],
  ['[P4] opcode 12', fromHex('6001020304050607080000000000')],
  ['[P4] opcode 31', fromHex('f801020304050607080000000000')],
  ['[P5] a hard reset with key id 1', fromHex('3901020304050607080000000000')],
  ['[P6] a hard reset with an all-zero session id', fromHex('3800000000000000000000000000')],
  ['[P7] DATA_V1 from an unknown address', fromHex('30000000010102030405060708090a0b0c0d0e0f10aabbcc')],
  ['[P7] DATA_V2 from an unknown address', fromHex('4800000000000001' + '11'.repeat(20))],
  ['[P11] an empty datagram', new Uint8Array(0)],
  ...Array.from({ length: 8 }, (_, index) => [`[P11] ${index + 1} bytes`, countingBytes(index + 1, 0x38)] as const),
  ['[P25] a hard reset with message id 5', fromHex('3801020304050607080000000005')],
  ['[P35] a packet with 9 acknowledgements', concatBytes(fromHex('20010203040506070809'), new Uint8Array(9 * 4 + 12))],
] as const) {
  test(`drops ${name}`, () => {
    const world = new SimulatedWorld();
    world.feed({ kind: 'datagram', remote: REMOTE, bytes });
    assert.deepEqual(world.transmitted, []);
    assert.equal(openingCount(world), 0);
  });
}

test('[P18] answers a hard reset of 14 bytes with 26, without keeping anything', () => {
  const world = new SimulatedWorld();
  const reset = clientPacket();
  const [answer, ...rest] = answers(world, reset);
  assert.equal(reset.length, 14);
  assert.equal(answer.length, 26);
  assert.deepEqual(rest, []);
  const packet = decodePlain(answer);
  assert.equal(packet.opcode, Opcode.HardResetServerV2);
  assert.deepEqual([packet.acks, packet.messageId], [[0], 0]);
  assert.equal(toHex(packet.peerSessionId ?? new Uint8Array(0)), toHex(CLIENT_SESSION_ID));
  for (let reset = 0; reset < 5_000; reset += 1)
    answers(world, clientPacket(), udpRemote(`10.${reset >> 8}.${reset & 255}.1`, 1000 + reset));
  assert.equal(openingCount(world), 0);
  assert.equal(world.engine.nextDeadline(), undefined);
});

test('[P19] gives the same session id to a repeated reset of the same slot', () => {
  const world = new SimulatedWorld();
  assert.equal(toHex(cookieFor(world)), toHex(cookieFor(world)));
});

test('[P20] opens a session for an acknowledgement with the cookie', () => {
  const world = new SimulatedWorld();
  const cookie = cookieFor(world);
  answers(world, clientPacket({ opcode: Opcode.AckV1, acks: [0], peerSessionId: cookie, messageId: null }));
  assert.equal(openingCount(world), 1);
});

test('[P21] refuses a wrong cookie, the cookie of another address and one that is too old', () => {
  const world = new SimulatedWorld();
  const cookie = cookieFor(world);
  const opening = (peerSessionId: Uint8Array): Uint8Array =>
    clientPacket({ opcode: Opcode.ControlV1, acks: [0], peerSessionId, messageId: 1, payload: Uint8Array.of(1) });
  assert.deepEqual(answers(world, opening(cookie.map((byte) => byte ^ 1))), []);
  assert.deepEqual(answers(world, opening(cookie), udpRemote('192.0.2.7', 5001)), []);
  assert.deepEqual(answers(world, opening(cookie), udpRemote('192.0.2.8', 5000)), []);
  world.advance(91_000);
  assert.deepEqual(answers(world, opening(cookie)), []);
  assert.equal(openingCount(world), 0);
});

test('takes a cookie for 60 s at least', () => {
  const world = new SimulatedWorld();
  const cookie = cookieFor(world);
  world.advance(60_000);
  answers(world, clientPacket({ opcode: Opcode.AckV1, acks: [0], peerSessionId: cookie, messageId: null }));
  assert.equal(openingCount(world), 1);
});

test('[P22] ignores a control packet without acknowledgements until one with them has come', () => {
  const world = new SimulatedWorld();
  const cookie = cookieFor(world);
  const hello = clientPacket({ opcode: Opcode.ControlV1, messageId: 1, payload: Uint8Array.of(1) });
  assert.deepEqual(answers(world, hello), []);
  assert.equal(openingCount(world), 0);
  answers(world, clientPacket({ opcode: Opcode.AckV1, acks: [0], peerSessionId: cookie, messageId: null }));
  const [ack] = answers(world, hello);
  assert.deepEqual(decodePlain(ack).acks, [1]);
});

test('[P23] opens nothing for a first packet with message id 2 or an acknowledgement of id 2', () => {
  const world = new SimulatedWorld();
  const peerSessionId = cookieFor(world);
  answers(world, clientPacket({ opcode: Opcode.ControlV1, acks: [0], peerSessionId, messageId: 2 }));
  answers(world, clientPacket({ opcode: Opcode.AckV1, acks: [2], peerSessionId, messageId: null }));
  assert.equal(openingCount(world), 0);
});

test('[P24] answers 10 resets a second to one network and leaves the rest unanswered', () => {
  const world = new SimulatedWorld();
  let answered = 0;
  for (let index = 0; index < 101; index += 1) {
    answered += answers(world, clientPacket(), udpRemote(`192.0.2.${index + 1}`, 5000)).length;
    world.advance(9);
  }
  assert.ok(answered <= 20, `${answered} answers in 0.9 s`);
  assert.ok(answered >= 10);
});

test('[P24] answers 5,000 resets a second to all networks together', () => {
  const world = new SimulatedWorld();
  let answered = 0;
  for (let index = 0; index < 6_000; index += 1)
    answered += answers(world, clientPacket(), udpRemote(`10.${index >> 8}.${index & 255}.1`, 5000)).length;
  assert.ok(answered > 4_000 && answered <= 5_000, `${answered} answers`);
});

test('a spoofer of one network stops nobody elsewhere', () => {
  const world = new SimulatedWorld();
  for (let index = 0; index < 500; index += 1)
    answers(world, clientPacket(), udpRemote(`192.0.2.${index % 255}`, index));
  assert.equal(answers(world, clientPacket(), udpRemote('203.0.113.5', 5000)).length, 1);
});

test('one network with many ports can’t take every start there is', () => {
  const world = new SimulatedWorld({
    limits: { unfinishedStartsPerNetwork: 20, startsBurst: 40, startsPerSecond: 40 },
  });
  const open = (remote: Remote): void => {
    const peerSessionId = cookieFor(world, remote);
    answers(world, clientPacket({ opcode: Opcode.AckV1, acks: [0], peerSessionId, messageId: null }), remote);
  };
  for (let port = 1; port <= 29; port += 1) open(udpRemote('192.0.2.1', port));
  assert.equal(openingCount(world), 20);
  assert.deepEqual(
    world.eventsOf('refused').map(({ remote, reason }) => [remote, reason]),
    Array.from({ length: 9 }, (_, index) => [`192.0.2.1:${21 + index}`, 'too-many-from-one-network']),
  );
  open(udpRemote('198.51.100.1', 1));
  assert.equal(openingCount(world), 21);
});

test('an office behind one address is let in as fast as its logins finish, up to a limit of its own', () => {
  const limits = { unfinishedStartsPerNetwork: 5, startsPerNetwork: 60 };
  const world = new SimulatedWorld({ limits });
  const arrive = (port: number): void => {
    world.client({ address: '192.0.2.1', port, name: `user-${port}` }).start();
    world.advance(10);
  };
  world.advance(2_000 - (world.clock.now % 1_000));
  for (let port = 1; port <= 80; port += 1) arrive(port);
  assert.equal(world.engine.stats().connected, 60);
});

for (const { startsUnlimitedMost, started, why } of [
  { startsUnlimitedMost: 1_000, started: 21, why: 'half of the 40 that may be half-open, and a burst of one' },
  { startsUnlimitedMost: 10, started: 11, why: 'what may wait for one another, and a burst of one' },
]) {
  test(`a crowd that comes back at once is held to a rate beyond ${why}`, () => {
    const limits = { startsUnlimitedShare: 0.5, startsUnlimitedMost, startsPerSecond: 1, startsBurst: 1 };
    const world = new SimulatedWorld({ config: dataPlaneConfig({ snapshot: { maxConnections: 160 } }), limits });
    for (let network = 1; network <= 40; network += 1) {
      const remote = udpRemote(`192.0.${network}.1`, 1);
      const peerSessionId = cookieFor(world, remote);
      answers(world, clientPacket({ opcode: Opcode.AckV1, acks: [0], peerSessionId, messageId: null }), remote);
    }
    assert.equal(openingCount(world), started);
  });
}

test('handshakes that fail at once count as under way until they are forgotten', () => {
  const limits = { startsUnlimitedMost: 10, startsPerSecond: 1, startsBurst: 1 };
  const world = new SimulatedWorld({ config: dataPlaneConfig({ snapshot: { maxConnections: 160 } }), limits });
  for (let network = 1; network <= 40; network += 1)
    world.client({ address: `192.0.${network}.1`, tls: { manner: 'old-version' } }).start();
  world.advance(500);
  assert.equal(openingCount(world), 0);
  assert.equal(world.eventsOf('handshakeFailed').length, 11);
  assert.equal(world.engine.stats().waiting, 29);
  world.advance(6_000);
  assert.ok(world.engine.stats().waiting < 20, 'and then others have their turn');
});

test('acknowledgements ride on what TLS answers, and go alone at the end of the turn when it says nothing', () => {
  const world = new SimulatedWorld();
  const client = world.connect();
  const lone = world.transmitted.map(({ bytes }) => decodePlain(bytes)).filter(({ opcode }) => opcode === Opcode.AckV1);
  assert.deepEqual(lone, []);
  const { length } = world.transmitted;
  world.receive(client.remote, client.sent.find((bytes) => decodePlain(bytes).messageId === 1) ?? new Uint8Array(0));
  assert.deepEqual(decodePlain(world.transmitted[length].bytes).acks[0], 1, 'what was sent again is told at once');

  const remote = udpRemote('192.0.2.9', 5000);
  const peerSessionId = cookieFor(world, remote);
  const part = (messageId: number): void =>
    world.receive(
      remote,
      clientPacket({ opcode: Opcode.ControlV1, acks: [0], peerSessionId, messageId, payload: Uint8Array.of(1) }),
    );
  const before = world.transmitted.length;
  part(1);
  world.receive(remote, clientPacket({ opcode: Opcode.AckV1, acks: [0], peerSessionId, messageId: null }));
  assert.equal(world.transmitted.length, before, 'an acknowledgement calls for none, and hastens none');
  world.advance(0);
  assert.deepEqual(decodePlain(world.transmitted[before].bytes).acks, [1]);
  for (const id of [2, 3, 4]) part(id);
  assert.equal(world.transmitted.length, before + 1);
  part(5);
  assert.deepEqual(decodePlain(world.transmitted[before + 1].bytes).acks.slice(0, 4), [5, 4, 3, 2]);
});

test('[P28] acknowledges a hard reset that comes again when the session exists', () => {
  const world = new SimulatedWorld();
  const peerSessionId = cookieFor(world);
  answers(world, clientPacket({ opcode: Opcode.AckV1, acks: [0], peerSessionId, messageId: null }));
  const [ack, ...rest] = answers(world, clientPacket());
  assert.deepEqual(rest, []);
  const packet = decodePlain(ack);
  assert.equal(packet.opcode, Opcode.AckV1);
  assert.deepEqual(packet.acks, [0]);
  assert.equal(toHex(packet.sessionId), toHex(peerSessionId));
});

const SERVER_KEY = countingBytes(128);
const CLIENT_KEY = countingBytes(256, 7);

function tlsCryptV2World(limits = {}, transport: 'udp' | 'tcp' = 'udp'): SimulatedWorld {
  const config = dataPlaneConfig({
    snapshot: { controlWrap: 'TlsCryptV2', transport },
    controlWrapKey: formatServerKeyPem(SERVER_KEY),
  });
  return new SimulatedWorld({ config, limits });
}

function v3Reset(metadata: Uint8Array, firstId: number): Uint8Array {
  const wrapped = makeWrappedClientKey(tlsCryptV2ServerKey(SERVER_KEY), CLIENT_KEY, metadata);
  const ids = new WrapPacketIds(1_767_225_600, firstId);
  const reset = clientPacket({ opcode: Opcode.HardResetClientV3 }, tlsCryptWrap(CLIENT_KEY, 'client'), ids);
  return concatBytes(reset, wrapped);
}

test('[P26] asks a tls-crypt-v2 client of 2.6 for its key again, without keeping anything', () => {
  const world = tlsCryptV2World();
  const reset = v3Reset(timestampMetadata(1_767_225_600), 0x0f000001);
  const [answer] = answers(world, reset);
  const unwrapped = tlsCryptWrap(CLIENT_KEY, 'client').unwrap(answer);
  assert.ok(unwrapped.ok);
  assert.equal(toHex(unwrapped.packet.payload), '000100020001');
  assert.equal(openingCount(world), 0);
  assert.deepEqual([reset.length, answer.length], [353, 72]);
});

test('[P27] drops a tls-crypt-v2 reset that can only be answered with state', () => {
  const world = tlsCryptV2World();
  assert.deepEqual(answers(world, v3Reset(new Uint8Array(0), 1)), []);
  assert.equal(openingCount(world), 0);
});

for (const firstId of [1, 0x0f000001])
  test(`[P27] answers a tls-crypt-v2 reset over TCP with state and without a TLV (first id ${firstId.toString(16)})`, () => {
    const world = tlsCryptV2World({}, 'tcp');
    const { remote } = world.client({ config: { transport: 'tcp' } });
    world.feed({ kind: 'transportOpened', remote });
    const [answer] = answers(world, v3Reset(new Uint8Array(0), firstId), remote);
    const unwrapped = tlsCryptWrap(CLIENT_KEY, 'client').unwrap(answer);
    assert.ok(unwrapped.ok);
    const { opcode, messageId, payload } = unwrapped.packet;
    assert.deepEqual([opcode, messageId, payload.length], [Opcode.HardResetServerV2, 0, 0]);
    assert.equal(openingCount(world), 1);
  });

for (const [name, bend] of [
  ['0', () => 0],
  ['289', () => 289],
  ['1025', () => 1025],
  ['more than the packet', (length: number) => length + 1],
] as const) {
  test(`[P43] drops a wrapped client key whose length field says ${name}`, () => {
    const world = tlsCryptV2World();
    const reset = v3Reset(timestampMetadata(1_767_225_600), 0x0f000001);
    new DataView(reset.buffer).setUint16(reset.length - 2, bend(reset.length));
    assert.deepEqual(answers(world, reset), []);
  });
}

test('[P45] opens nothing for a client key past its time, silently', () => {
  const world = tlsCryptV2World({ clientKeyLifetimeS: 3600 });
  const madeAt = Math.floor(world.clock.unixMs / 1000) - 3601;
  const wrapped = makeWrappedClientKey(tlsCryptV2ServerKey(SERVER_KEY), CLIENT_KEY, timestampMetadata(madeAt));
  const config = { wrap: { kind: 'tls-crypt-v2', key: { clientKey: CLIENT_KEY, wrappedClientKey: wrapped } } } as const;
  const client = world.client({ config });
  client.start();
  world.advance(10_000);
  assert.equal(openingCount(world), 0);
  assert.equal(world.engine.stats().drops.has('client-key-expired'), true);
  assert.deepEqual(client.messages, []);
});

for (const [kind, key, wrap] of [
  ['None', undefined, { kind: 'none' }],
  ['TlsAuth', formatStaticKey(CLIENT_KEY), { kind: 'tls-auth', key: CLIENT_KEY, digest: 'SHA256' }],
  ['TlsCrypt', formatStaticKey(CLIENT_KEY), { kind: 'tls-crypt', key: CLIENT_KEY }],
  [
    'TlsCryptV2',
    formatServerKeyPem(SERVER_KEY),
    {
      kind: 'tls-crypt-v2',
      key: {
        clientKey: CLIENT_KEY,
        wrappedClientKey: makeWrappedClientKey(
          tlsCryptV2ServerKey(SERVER_KEY),
          CLIENT_KEY,
          timestampMetadata(1_767_225_600),
        ),
      },
    },
  ],
] as const) {
  for (const transport of ['udp', 'tcp'] as const) {
    test(`connects and renews over ${transport} with the wrap ${kind}; no datagram is too large [P38]`, () => {
      const config = dataPlaneConfig({
        snapshot: { controlWrap: kind, transport },
        ...(key === undefined ? {} : { controlWrapKey: key }),
      });
      const world = new SimulatedWorld({ config });
      const client = world.connect({ config: { wrap, transport } });
      client.handle({ kind: 'renew' });
      world.advance(15_000);
      assert.deepEqual(
        world.eventsOf('renewed').map(({ keyId }) => keyId),
        [1],
      );
      const largest = Math.max(...world.transmitted.map(({ bytes }) => bytes.length));
      assert.ok(largest + 48 <= 1250, `${largest} bytes`);
      assert.ok(largest > 1000);
    });
  }
}

test('keeps at most a quarter of the endpoint’s connections half open; the oldest gives way', () => {
  const config = dataPlaneConfig({ snapshot: { maxConnections: 80 } });
  const world = new SimulatedWorld({ config });
  for (let index = 0; index < 30; index += 1) {
    const remote = udpRemote(`192.0.${index}.1`, 5000);
    const peerSessionId = cookieFor(world, remote);
    answers(world, clientPacket({ opcode: Opcode.AckV1, acks: [0], peerSessionId, messageId: null }), remote);
  }
  assert.equal(openingCount(world), 20);
  assert.equal(world.eventsOf('refused').length, 10);
  assert.equal(world.eventsOf('refused')[0]?.remote, '192.0.0.1:5000');
});

test('closes a TCP connection that sends no hard reset, and one that sends nothing', () => {
  const world = new SimulatedWorld({ config: dataPlaneConfig({ snapshot: { transport: 'tcp' } }) });
  const talker = world.client({ config: { transport: 'tcp' } });
  const silent = world.client({ config: { transport: 'tcp' } });
  for (const { remote } of [talker, silent]) world.feed({ kind: 'transportOpened', remote });
  world.receive(talker.remote, clientPacket({ opcode: Opcode.ControlV1, messageId: 1 }));
  assert.deepEqual(world.closedTransports, [talker.remote]);
  world.advance(61_000);
  assert.deepEqual(world.closedTransports, [talker.remote, silent.remote]);
  assert.equal(openingCount(world), 0);
});

test('a TCP connection that closes before it says anything leaves nothing behind', () => {
  const world = new SimulatedWorld({ config: dataPlaneConfig({ snapshot: { transport: 'tcp' } }) });
  const { remote } = world.client({ config: { transport: 'tcp' } });
  world.feed({ kind: 'transportOpened', remote });
  world.feed({ kind: 'transportClosed', remote });
  assert.equal(world.engine.nextDeadline(), undefined);
  world.advance(61_000);
  assert.deepEqual(world.events, []);
});

test('gives one address only so many unfinished TCP connections', () => {
  const config = dataPlaneConfig({ snapshot: { transport: 'tcp' } });
  const world = new SimulatedWorld({ config, limits: { halfOpenTcpPerAddress: 4 } });
  const clients = Array.from({ length: 6 }, (_, index) =>
    world.client({ address: '192.0.2.9', port: 1000 + index, config: { transport: 'tcp' } }),
  );
  for (const { remote } of clients) world.feed({ kind: 'transportOpened', remote });
  assert.equal(world.closedTransports.length, 2);
  world.feed({ kind: 'transportClosed', remote: clients[0].remote });
  world.feed({ kind: 'transportOpened', remote: clients[5].remote });
  assert.equal(world.closedTransports.length, 2);
});

test('nobody gives way to a TCP connection that is itself one too many of its address', () => {
  const config = dataPlaneConfig({ snapshot: { transport: 'tcp', maxConnections: 16 } });
  const world = new SimulatedWorld({ config, limits: { halfOpenTcpPerAddress: 4 } });
  const open = (address: string, port: number): void =>
    world.client({ address, port, config: { transport: 'tcp' } }).start();
  for (let n = 1; n <= 12; n += 1) open(`192.0.2.${n}`, 40_000);
  for (let port = 1; port <= 4; port += 1) open('203.0.113.1', port);
  // The limit of half-open connections is reached: 16.
  open('203.0.113.1', 5);
  assert.deepEqual(
    world.closedTransports.map(({ address }) => address),
    ['203.0.113.1'],
  );
});
