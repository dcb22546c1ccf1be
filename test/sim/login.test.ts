import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedWorld } from '../support/simulated-world.ts';

test('connects a client with a certificate', () => {
  const world = new SimulatedWorld();
  const client = world.connect();
  console.log(client.messages, world.events, world.connections());
  client.handle({ kind: 'inner', bytes: new Uint8Array(50).fill(0x45) });
  world.advance(100);
  console.log([...world.tunnel.peers.values()][0]?.received);
  assert.equal(client.settings?.tunnelAddress, '10.100.0.2');
});
