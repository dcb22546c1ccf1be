import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_BACKLOG_BYTES } from '../../dataplane/protocol/reliability.ts';
import { Opcode } from '../../dataplane/protocol/opcode.ts';
import { clientPacket, decodePlain } from '../support/raw-control.ts';
import { SimulatedWorld, udpRemote } from '../support/simulated-world.ts';

const CHUNK = new Uint8Array(16_384);

/** TLS has more to say to the client than it acknowledges. */
function pileUp(world: SimulatedWorld, tls: number): void {
  for (let queued = 0; queued <= MAX_BACKLOG_BYTES; queued += CHUNK.length)
    world.feed({ kind: 'tlsOutput', tls, bytes: CHUNK });
}

test('a client that leaves 256 KiB unacknowledged during its handshake is given up', () => {
  const world = new SimulatedWorld();
  const client = world.client({ tls: { manner: 'no-finish' } });
  client.start();
  world.advance(1_000);
  client.isMute = true;
  pileUp(world, 1);
  assert.deepEqual(
    world.eventsOf('handshakeFailed').map(({ reason }) => reason),
    ['acknowledges-too-little'],
  );
  world.advance(6_000);
  assert.deepEqual([world.engine.stats().opening, world.tls.size], [0, 0]);
});

test('a connected client that leaves 256 KiB unacknowledged loses its session, and nobody else does', () => {
  const world = new SimulatedWorld();
  const other = world.connect();
  const client = world.connect();
  client.isMute = true;
  pileUp(world, 2);
  world.advance(6_000);
  assert.deepEqual([world.engine.stats().connected, world.tls.size], [1, 1]);
  other.handle({ kind: 'inner', bytes: new Uint8Array(40).fill(0x45) });
  world.advance(100);
  assert.equal(world.tunnel.peers.get(0)?.received.length, 1);
});

test('a renewal whose client acknowledges nothing is abandoned; the key in use stays', () => {
  const world = new SimulatedWorld();
  const client = world.connect();
  client.handle({ kind: 'renew' });
  client.isMute = true;
  world.advance(100);
  const renewal = 2;
  pileUp(world, renewal);
  assert.deepEqual(
    world.eventsOf('handshakeFailed').map(({ reason }) => reason),
    ['renewal-acknowledges-too-little'],
  );
  assert.deepEqual([world.engine.stats().connected, world.tls.size], [1, 1]);
});

/** Sessions that have proven an address and say no more: `perNetwork` in each of so many /24s. */
function holdHalfOpen(world: SimulatedWorld, networks: number, perNetwork: number): void {
  for (let at = 0; at < networks * perNetwork; at += 1) {
    const remote = udpRemote(`100.64.${at % networks}.7`, 1024 + at);
    world.feed({ kind: 'datagram', remote, bytes: clientPacket() });
    const answer = world.transmitted.at(-1);
    if (answer?.remote.key !== remote.key) continue;
    const peerSessionId = decodePlain(answer.bytes).sessionId;
    const acknowledgement = { opcode: Opcode.AckV1, acks: [0], peerSessionId, messageId: null } as const;
    world.feed({ kind: 'datagram', remote, bytes: clientPacket(acknowledgement) });
  }
}

for (const [progress, ms] of [
  ['has just proven its address', 30],
  ['has finished TLS', 150],
] as const) {
  test(`a flood of half-open handshakes throws out itself, not a login that ${progress}`, () => {
    const world = new SimulatedWorld({ limits: { startsPerSecond: 1e6, startsBurst: 1e6 } });
    const client = world.client();
    client.start();
    world.advance(ms);
    holdHalfOpen(world, 200, 6);
    assert.ok(world.eventsOf('refused').length > 500);
    world.advance(3_000);
    assert.ok(client.machine.isConnected);
    world.advance(120_000);
    assert.deepEqual([world.engine.stats().opening, world.engine.stats().connected], [0, 1]);
  });
}
