import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Opcode } from '../../dataplane/protocol/opcode.ts';
import type { EngineLimits } from '../../dataplane/sessions/engine-options.ts';
import { clientPacket, decodePlain } from '../support/raw-control.ts';
import { SimulatedWorld, udpRemote } from '../support/simulated-world.ts';

/** A gateway of which one handshake that never ends takes all there may be under way, so that a rate holds. */
function crowdedWorld(limits: Partial<EngineLimits> = {}): SimulatedWorld {
  const world = new SimulatedWorld({
    limits: { startsUnlimitedMost: 1, startsPerSecond: 20, startsBurst: 1, ...limits },
  });
  const remote = udpRemote('198.51.100.7', 5000);
  world.receive(remote, clientPacket());
  const peerSessionId = decodePlain(world.transmitted[0].bytes).sessionId;
  world.receive(remote, clientPacket({ opcode: Opcode.AckV1, acks: [0], peerSessionId, messageId: null }));
  assert.equal(world.engine.stats().opening, 1);
  return world;
}

test('a crowd that has to wait is let in at that rate, without asking again', () => {
  const world = crowdedWorld();
  for (let network = 1; network <= 40; network += 1)
    world.client({ address: `192.0.${network}.1`, config: { retransmitMs: 60_000 } }).start();
  world.advance(1_000);
  const { connected } = world.engine.stats();
  assert.ok(connected >= 15 && connected <= 23, `${connected} after a second`);
  world.advance(1_500);
  assert.equal(world.engine.stats().connected, 40);
  assert.equal(world.engine.stats().waiting, 0);
});

for (const transport of ['udp', 'tcp'] as const) {
  test(`who finds no place to wait over ${transport} is turned away by name`, () => {
    const world = crowdedWorld({ waitingStarts: 5 });
    for (let network = 1; network <= 40; network += 1)
      world.client({ address: `192.0.${network}.1`, config: { transport, retransmitMs: 60_000 } }).start();
    world.advance(5_000);
    const { connected } = world.engine.stats();
    assert.ok(connected >= 5 && connected <= 8, `${connected} of 40`);
    // Over UDP most have said two things by then.
    const refused = world.eventsOf('refused').filter(({ reason }) => reason === 'start-limit');
    assert.ok(refused.length >= 40 - connected);
    assert.equal(new Set(refused.map(({ remote }) => remote)).size, 40 - connected);
    assert.equal(world.closedTransports.length, transport === 'tcp' ? 40 - connected : 0);
  });
}

for (const transport of ['udp', 'tcp'] as const) {
  test(`who has waited too long over ${transport} is turned away by name, and holds up nobody`, () => {
    const world = crowdedWorld({ waitingMs: 1_000, startsPerSecond: 5 });
    const start = (network: number): void =>
      world.client({ address: `192.0.${network}.1`, config: { transport, retransmitMs: 60_000 } }).start();
    for (let network = 1; network <= 40; network += 1) start(network);
    world.advance(900);
    const { connected } = world.engine.stats();
    start(41);
    world.advance(500);
    const late = world.eventsOf('refused').filter(({ reason }) => reason === 'waited-too-long');
    assert.ok(late.length >= 30 && late.length >= 38 - connected, `${late.length} of ${40 - connected}`);
    assert.equal(world.closedTransports.length, transport === 'tcp' ? late.length : 0);
    assert.ok(world.engine.stats().connected > connected, 'the one who came last');
  });
}

test('nobody waits for a TCP connection that has gone, nor through a shutdown', () => {
  const world = crowdedWorld();
  const clients = Array.from({ length: 10 }, (_, network) =>
    world.client({ address: `192.0.${network}.1`, config: { transport: 'tcp' } }),
  );
  for (const client of clients) client.start();
  world.advance(10);
  const { waiting } = world.engine.stats();
  assert.ok(waiting >= 5);
  world.feed({ kind: 'transportClosed', remote: clients[9].remote });
  assert.equal(world.engine.stats().waiting, waiting - 1);
  world.feed({ kind: 'shutdown', limitMs: 1_000 });
  assert.equal(world.engine.stats().waiting, 0);
});

test('what a client says while it waits, such as a first message of TLS in two packets, is taken when it is let in', () => {
  const world = crowdedWorld();
  const hosts = [1, 2].map((host) => udpRemote(`203.0.113.${host}`, 5000));
  // The first takes what the rate allows at once.
  for (const remote of hosts) {
    world.receive(remote, clientPacket());
    const peerSessionId = decodePlain(world.transmitted.at(-1)?.bytes ?? new Uint8Array(0)).sessionId;
    for (const messageId of [1, 2]) {
      const hello = { opcode: Opcode.ControlV1, acks: [0], peerSessionId, messageId, payload: Uint8Array.of(22) };
      world.receive(remote, clientPacket(hello));
    }
  }
  assert.equal(world.engine.stats().waiting, 1);
  world.advance(100);
  const heard = world.transmitted
    .filter(({ remote }) => remote.key === hosts[1].key)
    .flatMap(({ bytes }) => decodePlain(bytes).acks);
  assert.deepEqual(new Set(heard), new Set([0, 1, 2]));
});

test('when memory becomes short, who waits is turned away by name, and nobody new may wait', () => {
  const world = crowdedWorld();
  const start = (network: number): void => world.client({ address: `192.0.${network}.1` }).start();
  for (let network = 1; network <= 10; network += 1) start(network);
  world.advance(30);
  const { waiting } = world.engine.stats();
  assert.ok(waiting >= 5);
  world.feed({ kind: 'memory', isShort: true });
  world.advance(500);
  const refused = world.eventsOf('refused').filter(({ reason }) => reason === 'memory-short');
  assert.ok(refused.length >= waiting, `${refused.length} of ${waiting}`);
  start(11);
  world.advance(50);
  assert.equal(world.engine.stats().waiting, 0);
});
