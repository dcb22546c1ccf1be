import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dataPlaneConfig } from '../support/data-plane-configs.ts';
import type { SimulatedClient } from '../support/simulated-client.ts';
import { identityOf, SimulatedWorld, TIMERS, type SimulatedClientOptions } from '../support/simulated-world.ts';

const REASON = 'gave-way-to-newer-login';
/** Two pings are missing. */
const SILENT_MS = 2.5 * TIMERS.pingMs;

/** An endpoint with room for so many, for want of connections or of addresses. */
function worldFor(room: 2 | 3 | 5, bound: 'connections' | 'addresses'): SimulatedWorld {
  const snapshot = bound === 'connections' ? { maxConnections: room } : { clientCIDR: '10.100.0.0/29' };
  return new SimulatedWorld({ config: dataPlaneConfig({ snapshot }) });
}

/** A client that has tried to connect. */
function attempt(world: SimulatedWorld, options: Partial<SimulatedClientOptions>): SimulatedClient {
  const client = world.client(options);
  client.start();
  world.advance(1_000);
  return client;
}

function active(world: SimulatedWorld): readonly (string | null)[] {
  return world
    .connections()
    .filter(({ status }) => status === 'active')
    .map(({ commonName }) => commonName)
    .sort();
}

function displaced(world: SimulatedWorld): number {
  return world.eventsOf('disconnected').filter(({ reason }) => reason === REASON).length;
}

for (const [bound, room] of [
  ['connections', 2],
  ['addresses', 5],
] as const) {
  test(`a client that comes back from a new port finds room when all ${bound} are taken, its own silent one included`, () => {
    const world = worldFor(room, bound);
    const others = Array.from({ length: room - 1 }, (_, index) => world.connect({ name: `other-${index}` }));
    const before = world.connect({ name: 'alice', address: '192.0.2.7' });
    before.isMute = true;
    world.advance(SILENT_MS + TIMERS.pingMs);
    const after = attempt(world, { name: 'alice', address: '192.0.2.7', port: 40_001 });
    assert.equal(after.machine.isConnected, true, after.messages.join());
    assert.equal(after.settings?.tunnelAddress, before.settings?.tunnelAddress);
    assert.equal(displaced(world), 1);
    assert.deepEqual(active(world), ['alice', ...others.map((_, index) => `other-${index}`)]);
    assert.ok(others.every(({ closed }) => closed === undefined));
  });
}

test('while there is room, a silent session keeps its place', () => {
  const world = worldFor(5, 'connections');
  world.connect({ name: 'alice' }).isMute = true;
  world.advance(SILENT_MS + TIMERS.pingMs);
  world.connect({ name: 'alice' });
  assert.equal(displaced(world), 0);
  assert.deepEqual(active(world), ['alice', 'alice']);
});

test('a session that pings is not displaced, however often its owner logs in', () => {
  const world = worldFor(2, 'connections');
  const living = [world.connect({ name: 'alice' }), world.connect({ name: 'alice' })];
  for (let again = 0; again < 20; again += 1) {
    world.advance(TIMERS.pingMs);
    assert.match(attempt(world, { name: 'alice', port: 41_000 + again }).messages[0] ?? '', /no connection left$/);
  }
  assert.ok(living.every(({ closed }) => closed === undefined));
  assert.equal(displaced(world), 0);
});

test('one lost ping does not make a session silent', () => {
  const world = worldFor(2, 'connections');
  world.connect({ name: 'bob' });
  const alice = world.connect({ name: 'alice' });
  world.advance(TIMERS.pingMs);
  alice.isMute = true;
  world.advance(2 * TIMERS.pingMs);
  assert.match(attempt(world, { name: 'alice' }).messages[0] ?? '', /no connection left$/);
});

test('nobody takes the place of somebody else’s silent session', () => {
  const authenticate = (request: Parameters<typeof identityOf>[0]) => {
    const identity = identityOf(request);
    // One name on two certificates is two clients: an authority that signs one name twice has not said why.
    const fingerprints = request.username === 'renewed' ? ['OTHER'] : identity.certificateFingerprints;
    const username = request.username === 'renewed' ? identity.commonName : identity.username;
    return {
      kind: 'granted',
      identity: { ...identity, username, certificateFingerprints: fingerprints },
      authToken: null,
    } as const;
  };
  const world = new SimulatedWorld({ config: dataPlaneConfig({ snapshot: { maxConnections: 1 } }), authenticate });
  world.connect({ name: 'alice' }).isMute = true;
  world.advance(SILENT_MS + TIMERS.pingMs);
  const strangers = [
    attempt(world, { name: 'mallory' }),
    attempt(world, { name: 'alice', config: { username: 'mallory' } }),
    attempt(world, { name: 'alice', config: { username: 'renewed' } }),
  ];
  for (const stranger of strangers) assert.match(stranger.messages[0] ?? '', /no connection left$/);
  assert.equal(displaced(world), 0);
  assert.equal(attempt(world, { name: 'alice' }).machine.isConnected, true);
});

test('of several silent sessions of one client the one silent for longest goes, and one for each login', () => {
  const world = worldFor(3, 'connections');
  const [first, second, third] = Array.from({ length: 3 }, () => world.connect({ name: 'alice' }));
  second.isMute = true;
  world.advance(TIMERS.pingMs);
  [first.isMute, third.isMute] = [true, true];
  world.advance(SILENT_MS + TIMERS.pingMs);
  attempt(world, { name: 'alice' });
  assert.equal(displaced(world), 1);
  const ended = world.connections().find(({ status }) => status === 'terminated');
  assert.equal(ended?.clientIp, second.settings?.tunnelAddress);
  assert.deepEqual(active(world), ['alice', 'alice', 'alice']);
});

test('a whole crowd that comes back from new ports to a full endpoint gets in', () => {
  const world = new SimulatedWorld({ config: dataPlaneConfig({ snapshot: { maxConnections: 40 } }) });
  const names = Array.from({ length: 40 }, (_, index) => `user-${String(index).padStart(2, '0')}`);
  const come = (port: number): readonly SimulatedClient[] =>
    names.map((name) => {
      const client = world.client({ name, port });
      client.start();
      world.advance(100);
      return client;
    });
  const crowd = come(40_000);
  world.advance(5_000);
  assert.deepEqual(active(world), names);
  for (const client of crowd) client.isMute = true;
  world.advance(SILENT_MS + TIMERS.pingMs);
  const back = come(50_000);
  world.advance(5_000);
  assert.deepEqual(active(world), names);
  assert.ok(back.every(({ machine }) => machine.isConnected));
});
