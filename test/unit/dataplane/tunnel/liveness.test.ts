import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ForwarderWorld } from '../../../support/forwarder-world.ts';
import { udpPacket } from '../../../support/ip-twin.ts';

const A = '10.8.0.2';
const PACKET = udpPacket([A, 1000], ['10.60.0.2', 53], new Uint8Array(10));

function peerWith(record: { readonly pingMs?: number; readonly pingTimeoutMs?: number }): ForwarderWorld {
  const world = new ForwarderWorld();
  world.setPolicy('*→0.0.0.0/0');
  world.addPeer(0, A, record);
  return world;
}

/** Lets time pass in steps as a thread's loop would. */
function pass(world: ForwarderWorld, ms: number): void {
  const end = world.now + ms;
  while (world.now < end) {
    world.now = Math.min(end, world.now + Math.max(1, world.forwarder.liveness.waitMs(world.now)));
    world.forwarder.liveness.scan(world.now);
  }
}

test('a ping leaves after every ping interval without anything sent, within a second', () => {
  const world = peerWith({ pingMs: 10_000 });
  pass(world, 9_000);
  assert.equal(world.port.toClients.length, 0);
  pass(world, 2_000);
  assert.equal(world.port.toClients.length, 1);
  assert.equal(world.port.toClients[0].packet.length, 16);
  pass(world, 50_000);
  assert.ok(world.port.toClients.length >= 5 && world.port.toClients.length <= 6);
});

test('whatever is sent puts the ping off', () => {
  const world = peerWith({ pingMs: 10_000 });
  for (let i = 0; i < 10; i++) {
    pass(world, 8_000);
    world.fromNetwork(udpPacket(['10.60.0.2', 53], [A, 1000], new Uint8Array(1)));
  }
  assert.equal(world.port.toClients.length, 10);
});

test('a peer that is silent too long is reported once, and again after it came back', () => {
  const world = peerWith({ pingTimeoutMs: 120_000 });
  pass(world, 60_000);
  world.fromClients(world.wire(0, PACKET));
  pass(world, 119_000);
  assert.deepEqual(world.port.events, []);
  pass(world, 60_000);
  assert.deepEqual(world.port.events, [{ event: 'keepaliveLost', peer: 0, keyId: 0 }]);
  world.fromClients(world.wire(0, PACKET));
  pass(world, 122_000);
  assert.equal(world.port.events.length, 2);
});

test('a peer without a key is not pinged', () => {
  const world = peerWith({ pingMs: 1_000 });
  world.peers.keys.remove(0, 0);
  pass(world, 10_000);
  assert.deepEqual([world.port.toClients.length, world.drops()], [0, {}]);
});

test('the pings of thousands of peers do not leave in one go', () => {
  const world = new ForwarderWorld(1, 4_096);
  for (let i = 0; i < 4_000; i++) world.addPeer(i, `10.8.${2 + (i >> 8)}.${i & 255}`, { pingMs: 10_000 });
  let most = 0;
  let before = 0;
  for (let i = 0; i < 60; i++) {
    pass(world, 250);
    most = Math.max(most, world.port.toClients.length - before);
    before = world.port.toClients.length;
  }
  assert.ok(before >= 4_000, `${before} pings`);
  assert.ok(most <= 2_048, `${most} in a quarter of a second`);
});

test('nobody counts as silent while the thread itself stood still', () => {
  const world = peerWith({ pingTimeoutMs: 120_000 });
  pass(world, 60_000);
  world.forwarder.liveness.scan((world.now += 3_600_000));
  pass(world, 119_000);
  assert.deepEqual(world.port.events, []);
  pass(world, 2_000);
  assert.equal(world.port.events.length, 1);
});
