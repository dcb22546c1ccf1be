import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Opcode } from '../../dataplane/protocol/opcode.ts';
import { clientPacket } from '../support/raw-control.ts';
import type { SimulatedClient } from '../support/simulated-client.ts';
import { SimulatedWorld, udpRemote } from '../support/simulated-world.ts';

const INNER = new Uint8Array(40).fill(0x45);
const ELSEWHERE = udpRemote('203.0.113.9', 41_000);

/** The client's address changes under it, as a NAT does it. */
function moveTo(world: SimulatedWorld, client: SimulatedClient, remote = ELSEWHERE): void {
  client.remote = remote;
  world.place(client);
}

/** Peer ids that the engine has moved, and where to. */
function moves(world: SimulatedWorld): readonly string[] {
  return world.eventsOf('floated').map(({ to }) => to);
}

function lastData(client: SimulatedClient): Uint8Array {
  client.handle({ kind: 'inner', bytes: INNER });
  return client.sent[client.sent.length - 1] ?? new Uint8Array(0);
}

test('[P12] follows a client whose data comes from a new port, with data and control channel', () => {
  const world = new SimulatedWorld();
  const client = world.connect();
  moveTo(world, client);
  client.handle({ kind: 'inner', bytes: INNER });
  world.advance(100);
  assert.deepEqual(moves(world), ['203.0.113.9:41000']);
  assert.deepEqual(world.tunnel.peers.get(0)?.remote, ELSEWHERE.wire);
  client.handle({ kind: 'controlText', text: 'EXIT' });
  const before = world.transmitted.length;
  world.advance(1_000);
  assert.ok(world.transmitted.slice(before).every(({ remote }) => remote.key === ELSEWHERE.key));
  assert.equal(world.eventsOf('disconnected')[0]?.reason, 'client-exit');
});

test('[P13] ignores a control packet from a new address that has shown no data yet', () => {
  const world = new SimulatedWorld();
  const client = world.connect();
  moveTo(world, client);
  const before = world.transmitted.length;
  client.handle({ kind: 'controlText', text: 'EXIT' });
  world.advance(1_000);
  assert.equal(world.transmitted.length, before);
  assert.deepEqual(world.eventsOf('disconnected'), []);
});

test('[P14] does not follow a replayed data packet', () => {
  const world = new SimulatedWorld();
  const client = world.connect();
  const packet = lastData(client);
  world.advance(100);
  world.receive(ELSEWHERE, packet);
  world.advance(100);
  assert.deepEqual(moves(world), []);
});

test('[P15] does not follow a corrupted data packet', () => {
  const world = new SimulatedWorld();
  const client = world.connect();
  client.isMute = true;
  const packet = lastData(client).slice();
  packet[packet.length - 1] ^= 1;
  world.receive(ELSEWHERE, packet);
  world.advance(100);
  assert.deepEqual(moves(world), []);
});

test('[P16] does not move a client to the address where another user is connected', () => {
  const world = new SimulatedWorld();
  const alice = world.connect({ name: 'alice' });
  const bob = world.connect({ name: 'bob' });
  alice.isMute = true;
  const packet = lastData(alice);
  world.receive(bob.remote, packet);
  world.advance(100);
  assert.deepEqual(moves(world), []);
  assert.equal(world.connections().filter(({ status }) => status === 'active').length, 2);
  assert.equal(world.engine.stats().drops.get('float-to-foreign-address'), 1);
});

test('moves a client at once to the address of another user whose connection has just ended', () => {
  const world = new SimulatedWorld();
  const alice = world.connect({ name: 'alice' });
  const bob = world.connect({ name: 'bob' });
  alice.handle({ kind: 'controlText', text: 'EXIT' });
  world.advance(100);
  moveTo(world, bob, udpRemote(alice.remote.address, alice.remote.port));
  bob.handle({ kind: 'inner', bytes: INNER });
  world.advance(100);
  assert.deepEqual(moves(world), [`${alice.remote.address}:${alice.remote.port}`]);
  world.advance(10_000);
  bob.handle({ kind: 'controlText', text: 'EXIT' });
  world.advance(10_000);
  assert.equal(world.eventsOf('disconnected').length, 2);
  assert.deepEqual([world.tls.size, world.engine.nextDeadline()], [0, undefined]);
});

test('takes over the address of an older connection of the same identity, which ends', () => {
  const world = new SimulatedWorld();
  const older = world.connect({ name: 'alice' });
  const newer = world.connect({ name: 'alice' });
  moveTo(world, newer, udpRemote(older.remote.address, older.remote.port));
  newer.handle({ kind: 'inner', bytes: INNER });
  world.advance(100);
  assert.deepEqual(moves(world), ['198.51.100.1:40000']);
  assert.deepEqual(
    world.eventsOf('disconnected').map(({ connection }) => connection.clientIp),
    ['10.100.0.2'],
  );
  assert.equal(world.connections().filter(({ status }) => status === 'active').length, 1);
});

test('[P17] knows no data channel that could move before the login is decided', () => {
  const world = new SimulatedWorld({ authenticate: () => undefined });
  const client = world.client();
  client.start();
  world.advance(2_000);
  assert.equal(world.requests.length, 1);
  assert.equal(world.tunnel.peers.size, 0);
  world.feed({
    kind: 'dataChannel',
    notification: { kind: 'floated', peerId: 0, generation: 1, remote: ELSEWHERE.wire },
  });
  assert.deepEqual(moves(world), []);
});

test('[P8] has no answer for data of an unknown peer id from a known address', () => {
  const world = new SimulatedWorld();
  const client = world.connect();
  const packet = lastData(client).slice();
  packet[3] = 99;
  const before = world.transmitted.length;
  world.receive(client.remote, packet);
  world.feed({ kind: 'datagram', remote: client.remote, bytes: packet });
  world.advance(100);
  assert.equal(world.transmitted.length, before);
});

test('packets of an old holder of a peer id move nobody', () => {
  const world = new SimulatedWorld();
  world.connect();
  world.feed({
    kind: 'dataChannel',
    notification: { kind: 'floated', peerId: 0, generation: 7, remote: ELSEWHERE.wire },
  });
  assert.deepEqual(moves(world), []);
});

test('a stranger’s hard reset from a client’s address leaves the client alone', () => {
  const world = new SimulatedWorld();
  const client = world.connect();
  world.receive(client.remote, clientPacket({ opcode: Opcode.HardResetClientV2 }));
  client.handle({ kind: 'inner', bytes: INNER });
  world.advance(1_000);
  assert.equal(world.tunnel.peers.get(0)?.received.length, 1);
});
