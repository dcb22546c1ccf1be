import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Opcode } from '../../dataplane/protocol/opcode.ts';
import { formatStaticKey } from '../../dataplane/protocol/static-key.ts';
import { dataPlaneConfig } from '../support/data-plane-configs.ts';
import { countingBytes } from '../support/hex.ts';
import { clientPacket, decodePlain } from '../support/raw-control.ts';
import { randomBytesFrom, randomFrom, SEED, seeded } from '../support/seed.ts';
import type { SimulatedClient } from '../support/simulated-client.ts';
import { SimulatedWorld, udpRemote } from '../support/simulated-world.ts';

const WRAP_KEY = countingBytes(256, 5);

for (const [name, noise] of [
  ['loses a fifth', { drop: 0.2, duplicate: 0, corrupt: 0, latencyMs: 20, jitterMs: 0 }],
  ['reorders everything', { drop: 0, duplicate: 0, corrupt: 0, latencyMs: 5, jitterMs: 200 }],
  ['doubles half', { drop: 0, duplicate: 0.5, corrupt: 0, latencyMs: 20, jitterMs: 50 }],
  ['does all of it', { drop: 0.1, duplicate: 0.1, corrupt: 0.02, latencyMs: 20, jitterMs: 100 }],
] as const) {
  test(`connects and renews 20 clients over a network that ${name}`, (context) => {
    const { seed } = seeded(context);
    // Without a wrap a bent packet would end its TLS connection; with one it is dropped and sent again.
    const config = dataPlaneConfig({
      snapshot: { controlWrap: 'TlsCrypt' },
      controlWrapKey: formatStaticKey(WRAP_KEY),
    });
    const world = new SimulatedWorld({ seed, noise, config, timers: { renegotiateMs: 0 } });
    const wrap = { kind: 'tls-crypt', key: WRAP_KEY } as const;
    const clients = Array.from({ length: 20 }, (_, index) => world.client({ name: `user-${index}`, config: { wrap } }));
    for (const client of clients) client.start();
    world.advance(55_000);
    const connected = clients.filter(({ machine }) => machine.isConnected);
    assert.ok(connected.length >= 17, `${connected.length} of 20 connected`);
    for (const client of connected) client.handle({ kind: 'renew' });
    world.advance(50_000);
    const renewed = world.eventsOf('renewed').length;
    assert.ok(renewed >= connected.length * 0.8, `${renewed} of ${connected.length} renewed`);
    for (const client of clients) client.isMute = true;
    world.up.noise = { ...noise, drop: 1 };
    world.advance(300_000);
    assert.deepEqual([world.engine.stats().connected, world.engine.stats().opening, world.tls.size], [0, 0, 0]);
  });
}

// A stock client repeats after 2, 6, 14 and 30 s. With the files we export it repeats after 1, 3 and 7 s, and begins anew
// after 10 s in which it has heard nothing. The gateway goes by the round trip, once it has one.
for (const { drop, file, seconds, share } of [
  { drop: 0.1, file: 'bare', seconds: 30, share: 0.97 },
  { drop: 0.2, file: 'bare', seconds: 30, share: 0.93 },
  { drop: 0.05, file: 'exported', seconds: 2, share: 0.88 },
  { drop: 0.2, file: 'exported', seconds: 5, share: 0.7 },
  { drop: 0.2, file: 'exported', seconds: 30, share: 0.993 },
] as const) {
  test(`${drop * 100} % lost each way, ${file} file: ${share * 100} % are in within ${seconds} s`, (context) => {
    const noise = { drop, duplicate: 0, corrupt: 0, latencyMs: 20, jitterMs: 0 };
    const config = { retransmitMs: file === 'exported' ? 1_000 : 2_000, protocolBits: 2 | 4 | 8 | 128 };
    let connected = 0;
    const seeds = Array.from({ length: 60 }, (_, index) => index + 1);
    for (const seed of seeds) {
      const world = new SimulatedWorld({ seed, noise });
      // So few that no limit of session starts holds one back.
      let clients = Array.from({ length: 8 }, (_, index) => world.client({ name: `user-${index}`, config }));
      for (const client of clients) client.start();
      for (let left = seconds * 1_000; left > 0; left -= SERVER_POLL_MS) {
        world.advance(Math.min(left, SERVER_POLL_MS));
        if (file === 'exported') clients = clients.map((client) => anewIfUnheard(world, client));
      }
      connected += clients.filter(({ machine }) => machine.isConnected).length;
    }
    const reached = connected / (8 * seeds.length);
    context.diagnostic(`${(100 * reached).toFixed(1)} % after ${seconds} s`);
    assert.ok(reached >= share, `${reached}`);
  });
}

/** What `server-poll-timeout` does with a client, at the time it does. */
function anewIfUnheard(world: SimulatedWorld, client: SimulatedClient): SimulatedClient {
  if (client.received.length > 0) return client;
  client.isMute = true;
  const next = world.client({ name: 'again', config: client.config });
  next.start();
  return next;
}

const SERVER_POLL_MS = 10_000;

test('[P33] sends again after 2, 6, 14 and 30 s, six packets at the most, and forgets the session after 60 s', () => {
  const world = new SimulatedWorld();
  const remote = udpRemote('192.0.2.7', 5000);
  world.receive(remote, clientPacket());
  const peerSessionId = decodePlain(world.transmitted[0].bytes).sessionId;
  world.receive(remote, clientPacket({ opcode: Opcode.AckV1, acks: [0], peerSessionId, messageId: null }));
  const start = world.clock.now;
  world.feed({ kind: 'tlsOutput', tls: 1, bytes: new Uint8Array(20_000) });
  world.advance(59_000);
  const sent = world.transmitted
    .slice(1)
    .map(({ at, bytes }) => ({ at: at - start, id: decodePlain(bytes).messageId }));
  assert.deepEqual(
    sent.filter(({ id }) => id === 1).map(({ at }) => at),
    [0, 2_000, 6_000, 14_000, 30_000],
  );
  assert.equal(new Set(sent.map(({ id }) => id)).size, 6);
  world.advance(2_000);
  assert.equal(world.engine.stats().opening, 0);
});

test('[P36] drops a packet meant for another session of ours', () => {
  const world = new SimulatedWorld();
  const remote = udpRemote('192.0.2.7', 5000);
  world.receive(remote, clientPacket());
  const peerSessionId = decodePlain(world.transmitted[0].bytes).sessionId;
  world.receive(remote, clientPacket({ opcode: Opcode.AckV1, acks: [0], peerSessionId, messageId: null }));
  const before = world.transmitted.length;
  const stray = { opcode: Opcode.ControlV1, acks: [0], messageId: 1, payload: Uint8Array.of(1) } as const;
  world.receive(remote, clientPacket({ ...stray, peerSessionId: peerSessionId.map((byte) => byte ^ 0x80) }));
  world.advance(0);
  assert.equal(world.transmitted.length, before);
  world.receive(remote, clientPacket({ ...stray, peerSessionId }));
  world.advance(0);
  assert.equal(world.transmitted.length, before + 1);
});

for (const [controlWrap, wrap] of [
  ['None', { kind: 'none' }],
  ['TlsCrypt', { kind: 'tls-crypt', key: WRAP_KEY }],
] as const) {
  test(`[P102] survives random and mutated packets with the wrap ${controlWrap}, and does not grow`, (context) => {
    const random = randomFrom(seeded(context).seed);
    const config = dataPlaneConfig({ snapshot: { controlWrap }, controlWrapKey: formatStaticKey(WRAP_KEY) });
    const world = new SimulatedWorld({ seed: SEED, config });
    const client = world.connect({ config: { wrap } });
    const corpus = [...client.sent, ...world.transmitted.map(({ bytes }) => bytes)];
    for (let round = 0; round < 15_000; round += 1) {
      const remote = random() < 0.5 ? client.remote : udpRemote(`192.0.2.${round % 250}`, 1000 + (round % 1000));
      const bytes =
        random() < 0.2
          ? randomBytesFrom(random, Math.floor(random() * 100))
          : mutated(corpus[Math.floor(random() * corpus.length)], random);
      world.feed({ kind: 'datagram', remote, bytes });
      world.transmitted.length = 0;
      if (round % 1000 === 0) world.clock.advance(10);
    }
    const { opening, connected, handshakeBytes, drops } = world.engine.stats();
    assert.equal(handshakeBytes, 0);
    assert.ok(opening <= 250);
    assert.ok(drops.size < 40, 'reasons are a closed set');
    context.diagnostic(`drops: ${JSON.stringify(Object.fromEntries(drops))}`);
    // Without a wrap whoever has seen a client's packets can spoil its TLS; with one he can do nothing at all.
    if (controlWrap === 'None') return;
    assert.equal(connected, 1);
    client.handle({ kind: 'inner', bytes: new Uint8Array(40).fill(0x45) });
    world.advance(100);
    assert.equal(world.tunnel.peers.get(0)?.received.length, 1);
  });
}

function mutated(packet: Uint8Array, random: () => number): Uint8Array {
  const bytes = packet.slice(0, random() < 0.3 ? Math.floor(random() * packet.length) : packet.length);
  for (let flips = Math.floor(random() * 4); flips > 0 && bytes.length > 0; flips -= 1)
    bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
  return bytes;
}
