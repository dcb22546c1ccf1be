import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dataPlaneConfig } from '../support/data-plane-configs.ts';
import type { Noise } from '../support/noisy-link.ts';
import { seeded } from '../support/seed.ts';
import type { SimulatedClient } from '../support/simulated-client.ts';
import { SimulatedWorld, udpRemote } from '../support/simulated-world.ts';

const NOISE: Noise = { drop: 0.03, duplicate: 0.03, corrupt: 0.002, latencyMs: 15, jitterMs: 40 };
const STEPS = 400;
const INNER = new Uint8Array(40).fill(0x45);

/**
 * Clients come, renew, move, fall silent and go at random while the configuration changes under them. The tunnel twin
 * throws on any verb that does not fit what it holds; besides, no two connections share an address, a peer id or a TLS
 * connection, and when all are gone nothing is left.
 */
test('[C112] holds its invariants through a random life', (context) => {
  const { seed } = seeded(context);
  const world = new SimulatedWorld({
    seed,
    noise: NOISE,
    threads: 2,
    timers: { renegotiateMs: 45_000, transitionWindowMs: 90_000 },
    limits: { unfinishedStartsPerNetwork: 1_000, startsPerNetwork: 1_000 },
    config: dataPlaneConfig({ snapshot: { clientCIDR: '10.100.0.0/27' } }),
  });
  const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(world.random() * list.length)];
  const clients: SimulatedClient[] = [];
  const live = (): SimulatedClient[] => clients.filter(({ closed, isMute }) => closed === undefined && !isMute);
  const actions: readonly (() => void)[] = [
    () => {
      const name = `user-${Math.floor(world.random() * 12)}`;
      const old = world.random() < 0.3 ? pick(live()) : undefined;
      const place = old === undefined ? {} : { address: old.remote.address, port: old.remote.port };
      const protocolBits = pick([2, 6, 990, 8094]) ?? 990;
      const client = world.client({ name, ...place, config: { protocolBits, keySwitchMs: 10_000 } });
      if (old !== undefined) old.isMute = true;
      clients.push(client);
      client.start();
    },
    () => pick(live())?.handle({ kind: 'renew' }),
    () => pick(live())?.handle({ kind: 'inner', bytes: INNER }),
    () => {
      const client = pick(live());
      if (client === undefined) return;
      client.remote = udpRemote(client.remote.address, 50_000 + Math.floor(world.random() * 1000));
      world.place(client);
      client.handle({ kind: 'inner', bytes: INNER });
    },
    () => {
      if (live().length > 8) pick(live())?.handle({ kind: 'exit' });
    },
    () => {
      const client = live().length > 12 ? pick(live()) : undefined;
      if (client !== undefined) client.isMute = true;
    },
    () => {
      const connection = world.random() < 0.2 ? pick(world.connections()) : undefined;
      if (connection !== undefined) world.feed({ kind: 'terminate', connectionId: connection.connectionId });
    },
    () => {
      if (world.random() > 0.1) return;
      const splitTunnel = world.random() < 0.5;
      const push = { splitTunnel, dnsServers: [], blockLocal: false, banner: null };
      world.feed({
        kind: 'configChanged',
        config: dataPlaneConfig({ snapshot: { clientCIDR: '10.100.0.0/27', push } }),
      });
    },
  ];

  for (let step = 0; step < STEPS; step += 1) {
    pick(actions)?.();
    world.advance(world.random() * 2_000);
    const active = world.connections().filter(({ status }) => status === 'active');
    assert.equal(new Set(active.map(({ clientIp }) => clientIp)).size, active.length);
    assert.equal(world.tunnel.peers.size, active.length);
    const { addressesUsed, connected, handshakeBytes } = world.engine.stats();
    assert.deepEqual([addressesUsed, connected], [active.length, active.length]);
    assert.ok(handshakeBytes >= 0);
  }
  const logins = world.eventsOf('connected').length;
  const renewals = world.eventsOf('renewed').length;
  const moves = world.eventsOf('floated').length;
  context.diagnostic(`${logins} logins, ${renewals} renewals, ${moves} moves`);
  assert.ok(logins > 20 && renewals > 20 && moves > 5, 'the life was worth living');

  for (const client of clients) client.isMute = true;
  world.advance(400_000);
  const { connected, opening, addressesUsed, handshakeBytes } = world.engine.stats();
  assert.deepEqual([connected, opening, addressesUsed, handshakeBytes], [0, 0, 0, 0]);
  assert.deepEqual([world.tls.size, world.tunnel.peers.size, world.engine.nextDeadline()], [0, 0, undefined]);
});
