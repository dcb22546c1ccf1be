import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_BACKLOG_BYTES } from '../../dataplane/protocol/reliability.ts';
import { SimulatedWorld } from '../support/simulated-world.ts';

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
    ['renewal: acknowledges-too-little'],
  );
  assert.deepEqual([world.engine.stats().connected, world.tls.size], [1, 1]);
});
