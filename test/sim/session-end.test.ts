import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Opcode, opcodeOf } from '../../dataplane/protocol/opcode.ts';
import { formatStaticKey } from '../../dataplane/protocol/static-key.ts';
import { GOODBYE_MS } from '../../standalone/stop-limits.ts';
import { dataPlaneConfig } from '../support/data-plane-configs.ts';
import { countingBytes } from '../support/hex.ts';
import type { SimulatedClient } from '../support/simulated-client.ts';
import { grantByCertificate, identityOf, SimulatedWorld, udpRemote } from '../support/simulated-world.ts';

const HOUR_MS = 3_600_000;

function endReasons(world: SimulatedWorld): readonly (string | null)[] {
  return world
    .connections()
    .filter(({ status }) => status === 'terminated')
    .map(({ endReason }) => endReason);
}

function assertNothingHeld(world: SimulatedWorld): void {
  const { connected, opening, addressesUsed, handshakeBytes } = world.engine.stats();
  assert.deepEqual({ connected, opening, addressesUsed, handshakeBytes }, HELD_NOTHING);
  assert.equal(world.tls.size, 0);
  assert.equal(world.tunnel.peers.size, 0);
  assert.equal(world.engine.nextDeadline(), undefined);
}

const HELD_NOTHING = { connected: 0, opening: 0, addressesUsed: 0, handshakeBytes: 0 };

test('[P83] acknowledges EXIT and forgets the session 5 s later, however often it is said', () => {
  const world = new SimulatedWorld();
  const client = world.connect();
  for (let again = 0; again < 10; again += 1) {
    client.handle({ kind: 'controlText', text: 'EXIT' });
    world.advance(400);
  }
  assert.equal(world.tls.size, 1);
  assert.deepEqual(endReasons(world), ['client-exit']);
  assert.equal(world.tunnel.peers.size, 0);
  world.advance(1_100);
  assertNothingHeld(world);
});

test('somebody who logs in and out without end takes no ids beyond what the tunnel threads have room for', () => {
  const world = new SimulatedWorld({ slots: 8 });
  for (let login = 0; login < 30; login += 1) {
    const client = world.connect();
    const ids = [...world.tunnel.peers.keys()];
    assert.ok(ids.length === 1 && ids[0] < 8, String(ids));
    client.handle({ kind: 'controlText', text: 'EXIT' });
    world.advance(100);
  }
});

test('an exit notice of the data channel ends the session at once', () => {
  const world = new SimulatedWorld();
  const client = world.connect({ config: { protocolBits: 6 } });
  client.handle({ kind: 'exit' });
  world.advance(100);
  assert.deepEqual(endReasons(world), ['client-exit']);
  assertNothingHeld(world);
});

test('[P95] forgets a client that is silent for twice the ping-restart, and frees its address', () => {
  const world = new SimulatedWorld();
  const client = world.connect();
  client.isMute = true;
  world.advance(121_000);
  assert.deepEqual(endReasons(world), ['keepalive-lost']);
  assertNothingHeld(world);
});

test('[P96] lets the same identity log in twice, each with an address; the first keeps its own', () => {
  const world = new SimulatedWorld();
  const first = world.connect({ name: 'alice' });
  const second = world.connect({ name: 'alice' });
  assert.deepEqual(
    [first, second].map(({ settings }) => settings?.tunnelAddress),
    ['10.100.0.2', '10.100.0.3'],
  );
  assert.equal(world.engine.stats().connected, 2);
  for (const client of [first, second]) client.handle({ kind: 'controlText', text: 'EXIT' });
  world.advance(10_000);
  world.connect({ name: 'bob' });
  assert.equal(world.connect({ name: 'alice' }).settings?.tunnelAddress, '10.100.0.2');
});

test('[P29] a client that starts anew at its old port gets in beside its old session, which then ends', () => {
  const world = new SimulatedWorld();
  const before = world.connect();
  const oldData = (): number => {
    before.handle({ kind: 'inner', bytes: new Uint8Array(40).fill(0x45) });
    const [peer] = world.tunnel.peers.values();
    return peer?.received.length ?? 0;
  };
  const after = world.client({ address: before.remote.address, port: before.remote.port });
  after.start();
  world.advance(35);
  assert.equal(world.engine.stats().opening, 1);
  oldData();
  world.advance(15);
  assert.equal([...world.tunnel.peers.values()][0]?.received.length, 1);
  world.advance(2_000);
  assert.equal(after.settings?.tunnelAddress, '10.100.0.2');
  assert.deepEqual(endReasons(world), ['client-started-anew']);
  assert.deepEqual([...world.tunnel.peers.keys()], [1]);
  assert.equal(world.tunnel.receive(before.sent.at(-1) ?? new Uint8Array(0), null, undefined), false);
});

test('does not give a peer id out again within a minute', () => {
  const world = new SimulatedWorld({ threads: 2 });
  const ids: number[] = [];
  for (let round = 0; round < 4; round += 1) {
    const client = world.connect({ name: `user-${round}` });
    ids.push(...world.tunnel.peers.keys());
    client.handle({ kind: 'controlText', text: 'EXIT' });
    world.advance(5_500);
  }
  assert.deepEqual(ids, [0, 1, 2, 3]);
  world.advance(60_000);
  world.connect({ name: 'late' });
  assert.deepEqual([...world.tunnel.peers.keys()], [0]);
});

test('terminates one connection with HALT and leaves the others alone', () => {
  const world = new SimulatedWorld();
  const [alice, bob] = [world.connect({ name: 'alice' }), world.connect({ name: 'bob' })];
  const [connection] = world.connections();
  world.feed({ kind: 'terminate', connectionId: connection.connectionId });
  world.advance(1_000);
  assert.match(alice.closed ?? '', /^HALT,/);
  assert.equal(bob.closed, undefined);
  const ended = world.connections().find(({ status }) => status === 'terminated');
  assert.equal(ended?.connectionId, connection.connectionId);
  assert.match(connection.connectionId, /^cvpn-connection-[0-9a-f]{17}$/);
  assert.ok(ended.endTime !== null && ended.establishedTime !== null);
});

test('lists an ended connection for an hour', () => {
  const world = new SimulatedWorld();
  const client = world.connect();
  client.handle({ kind: 'controlText', text: 'EXIT' });
  world.advance(59 * 60_000);
  assert.equal(world.connections().length, 1);
  world.advance(2 * 60_000);
  assert.equal(world.connections().length, 0);
});

for (const [disconnectOnTimeout, farewell] of [
  [false, /^RESTART,\[P\]:maximum session duration/],
  [true, /^HALT,maximum session duration/],
] as const) {
  test(`a session at its longest ends with ${farewell.source}`, () => {
    const config = dataPlaneConfig({ snapshot: { session: { timeoutHours: 8, disconnectOnTimeout } } });
    const world = new SimulatedWorld({ config });
    const client = world.connect();
    world.advance(8 * HOUR_MS - 10_000);
    assert.equal(client.closed, undefined);
    world.advance(10_000);
    assert.match(client.closed ?? '', farewell);
    assert.equal(world.engine.stats().connected, 0);
  });
}

test('hours that are lowered end only the sessions that are older', () => {
  const world = new SimulatedWorld({ config: dataPlaneConfig({ snapshot: { session: session(24) } }) });
  const older = world.connect({ name: 'older' });
  world.advance(9 * HOUR_MS);
  const younger = world.connect({ name: 'younger' });
  world.feed({ kind: 'configChanged', config: dataPlaneConfig({ snapshot: { session: session(8) } }) });
  world.advance(2_000);
  assert.match(older.closed ?? '', /^RESTART/);
  assert.equal(younger.closed, undefined);
});

function session(timeoutHours: number): { timeoutHours: number; disconnectOnTimeout: boolean } {
  return { timeoutHours, disconnectOnTimeout: false };
}

test('cuts the sessions of a certificate revoked while connected, and nobody else', () => {
  const world = new SimulatedWorld();
  const [alice, bob] = [world.connect({ name: 'alice' }), world.connect({ name: 'bob' })];
  const serials = Buffer.concat([Buffer.from('\0\0\0abc'), Buffer.from('\0alice'), Buffer.from('zzzzzz')]);
  const list = { issuerNameHash: 'CA', nextUpdate: null, serialBytes: 6, serials: serials.toString('base64') };
  world.feed({ kind: 'configChanged', config: dataPlaneConfig({ revocation: { kind: 'List', lists: [list] } }) });
  world.advance(500);
  assert.equal(alice.closed, 'HALT,certificate revoked');
  assert.equal(bob.closed, undefined);
  assert.deepEqual(endReasons(world), ['certificate-revoked']);
});

test('an unusable revocation list leaves those who are connected alone', () => {
  const world = new SimulatedWorld();
  const client = world.connect();
  world.feed({
    kind: 'configChanged',
    config: dataPlaneConfig({ revocation: { kind: 'Unusable', reason: 'expired' } }),
  });
  world.advance(30_000);
  assert.equal(client.closed, undefined);
});

const LOCAL = { mutual: false, identityProvider: { name: 'people', type: 'Local', mfa: null } } as const;

function localConfig(users: readonly { name: string; groups: readonly string[] }[], snapshot = {}) {
  const documented = users.map((user) => ({ ...user, passwordHash: '' }));
  return dataPlaneConfig({ users: documented, snapshot: { authentication: LOCAL, ...snapshot } });
}

test('sends away a user who is removed, and gives the others their new groups at once', () => {
  const before = localConfig([
    { name: 'alice', groups: ['eng'] },
    { name: 'bob', groups: ['eng'] },
  ]);
  const world = new SimulatedWorld({
    config: before,
    authenticate: (request) => ({ kind: 'granted', identity: identityOf(request, ['eng']), authToken: null }),
  });
  const [alice, bob] = ['alice', 'bob'].map((username) =>
    world.connect({ tls: { certificate: null }, config: { username, password: 'x' } }),
  );
  const groupsBefore = [...(world.tunnel.peers.get(1)?.groups ?? [])];
  world.feed({ kind: 'configChanged', config: localConfig([{ name: 'bob', groups: ['ops', 'eng'] }]) });
  world.advance(500);
  assert.equal(alice.closed, 'HALT,user removed');
  assert.equal(bob.closed, undefined);
  assert.equal(groupsBefore.length, 1);
  assert.equal(world.tunnel.peers.get(1)?.groups.length, 2);
});

test('a login that was granted before its user was removed does not get in', () => {
  const world = new SimulatedWorld({
    config: localConfig([{ name: 'alice', groups: [] }]),
    authenticate: () => undefined,
  });
  const client = world.client({ tls: { certificate: null }, config: { username: 'alice', password: 'x' } });
  client.start();
  world.advance(1_000);
  const [request] = world.requests;
  world.feed({ kind: 'configChanged', config: localConfig([]) });
  world.decide(request.requestId, grantByCertificate(request));
  world.advance(1_000);
  assert.deepEqual(client.messages, ['AUTH_FAILED,user removed']);
});

test('the guide’s reset policy restarts everybody for a changed rule, the default nobody', () => {
  for (const [resetPolicy, expected] of [
    ['Guide', 'RESTART,[P]:configuration changed'],
    ['Minimal', undefined],
  ] as const) {
    const world = new SimulatedWorld({ config: dataPlaneConfig({ snapshot: { resetPolicy } }) });
    const client = world.connect();
    world.feed({ kind: 'configChanged', config: dataPlaneConfig({ snapshot: { resetPolicy, rules: [] } }) });
    world.advance(11_000);
    assert.equal(client.closed, expected);
  }
});

test('[C56] the guide’s reset policy restarts everybody for a changed route of a split tunnel, who then has the new list', () => {
  const configWith = (cidr: string) =>
    dataPlaneConfig({
      snapshot: {
        resetPolicy: 'Guide',
        routing: { 'net-a': [{ name: 'net-a-local', cidr, via: 'TargetNetwork' }] },
      },
    });
  const world = new SimulatedWorld({ config: configWith('10.50.0.0/16') });
  // One that could be told by an update, and one that could not.
  const clients = [world.connect({ name: 'alice', config: { protocolBits: 8094 } }), world.connect({ name: 'bob' })];
  world.feed({ kind: 'configChanged', config: configWith('10.60.0.0/16') });
  world.advance(11_000);
  for (const { closed } of clients) assert.equal(closed, 'RESTART,[P]:configuration changed');
  const back = world.connect({ name: 'bob' });
  assert.ok(back.settings?.options.includes('route 10.60.0.0 255.255.0.0'), back.settings?.options.join());
});

test('paced restarts spread over the drain time', () => {
  const config = dataPlaneConfig({ snapshot: { drainSeconds: 100 } });
  const world = new SimulatedWorld({ config });
  const clients = Array.from({ length: 40 }, (_, index) => world.connect({ name: `user-${index}` }));
  const push = { splitTunnel: false, dnsServers: [], blockLocal: false, banner: null };
  world.feed({ kind: 'configChanged', config: dataPlaneConfig({ snapshot: { drainSeconds: 100, push } }) });
  const closedCount = (): number => clients.filter(({ closed }) => closed !== undefined).length;
  world.advance(50_000);
  assert.ok(closedCount() > 8 && closedCount() < 32, `${closedCount()} of 40 after half the time`);
  world.advance(51_000);
  assert.equal(closedCount(), 40);
});

test('[P87] a shutdown tells everybody to come back later, and is over once they have heard', () => {
  const world = new SimulatedWorld();
  const clients = ['alice', 'bob'].map((name) => world.connect({ name }));
  world.feed({ kind: 'shutdown', limitMs: GOODBYE_MS });
  world.advance(1_000);
  for (const client of clients) assert.match(client.closed ?? '', /^RESTART,/);
  world.advance(2_000);
  assert.equal(world.engine.drained(), true);
  assert.equal(world.eventsOf('drained').length, 1);
  assertNothingHeld(world);
  const late = world.client();
  late.start();
  world.advance(1_000);
  assert.equal(late.received.length, 0);
});

test('a shutdown tells those who are waiting for their login too', () => {
  const world = new SimulatedWorld({ authenticate: () => undefined });
  const client = world.client({ name: 'alice' });
  client.start();
  world.advance(2_000);
  assert.equal(world.eventsOf('connected').length, 0);
  world.feed({ kind: 'shutdown', limitMs: GOODBYE_MS });
  world.advance(1_000);
  assert.match(client.closed ?? '', /^RESTART,/);
  world.advance(2_000);
  assert.equal(world.engine.drained(), true);
  assertNothingHeld(world);
});

test('a shutdown tells a client that does not answer a second time, and does not wait for it any longer than it may', () => {
  const world = new SimulatedWorld();
  const silent = world.connect({ name: 'alice' });
  // Its session has ended already, and lingers for longer than that.
  const halted = world.connect({ name: 'bob' });
  for (const client of [silent, halted]) client.isMute = true;
  const bob = world.connections().find(({ commonName }) => commonName === 'bob');
  world.feed({ kind: 'terminate', connectionId: bob?.connectionId ?? '' });
  const from = world.transmitted.length;
  world.feed({ kind: 'shutdown', limitMs: GOODBYE_MS });
  world.advance(GOODBYE_MS - 1);
  const told = world.transmitted.slice(from).filter(({ remote }) => remote.key === silent.remote.key);
  assert.equal(told.length, 2, 'a RESTART that was lost is sent again');
  assert.equal(world.engine.drained(), false);
  world.advance(1);
  assert.equal(world.engine.drained(), true);
  assertNothingHeld(world);
});

test('a shutdown of an idle gateway is over at once', () => {
  const world = new SimulatedWorld();
  world.feed({ kind: 'shutdown', limitMs: GOODBYE_MS });
  assert.equal(world.engine.drained(), true);
});

test('a closed TCP connection ends its session', () => {
  const config = dataPlaneConfig({ snapshot: { transport: 'tcp' } });
  const world = new SimulatedWorld({ config, threads: 4 });
  const client: SimulatedClient = world.connect({ config: { transport: 'tcp' } });
  world.feed({ kind: 'transportClosed', remote: client.remote });
  assert.deepEqual(endReasons(world), ['transport-closed']);
  assertNothingHeld(world);
});

test('[P82] ignores messages that are unprintable or not ended, and goes on', () => {
  const world = new SimulatedWorld();
  const client = world.connect();
  client.handle({ kind: 'controlText', text: 'EXIT\u0001' });
  client.handle({ kind: 'controlText', text: 'NONSENSE' });
  world.advance(1_000);
  assert.deepEqual(endReasons(world), []);
  const { drops } = world.engine.stats();
  assert.deepEqual([drops.get('control-message-unprintable'), drops.get('control-message-unknown')], [1, 1]);
});

test('[P86] ignores an answer to a challenge that was not asked', () => {
  const world = new SimulatedWorld();
  const client = world.connect();
  client.handle({ kind: 'controlText', text: `CR_RESPONSE,${btoa('42')}` });
  world.advance(1_000);
  assert.equal(client.messages.length, 1);
  assert.equal(world.engine.stats().drops.get('challenge-response-unasked'), 1);
});

test('hears no more than 10 messages a second after a burst of 50', () => {
  const world = new SimulatedWorld();
  const client = world.connect();
  for (let round = 0; round < 80; round += 1) client.handle({ kind: 'controlText', text: 'NONSENSE' });
  world.advance(1_000);
  const { drops } = world.engine.stats();
  assert.ok((drops.get('control-message-unknown') ?? 0) <= 61);
  assert.ok((drops.get('control-message-limit') ?? 0) >= 19);
});

test('one session’s control packets beyond 128 a second are not looked at, and it goes on', () => {
  const world = new SimulatedWorld();
  const client = world.connect();
  const message = client.sent.find((bytes) => opcodeOf(bytes[0]) === Opcode.ControlV1) ?? new Uint8Array(0);
  const { length } = world.transmitted;
  for (let again = 0; again < 2_000; again += 1) world.receive(client.remote, message);
  assert.ok(world.transmitted.length - length <= 512, 'each is acknowledged again');
  assert.ok((world.engine.stats().drops.get('control-packet-limit') ?? 0) >= 1_488);
  world.advance(10_000);
  client.handle({ kind: 'controlText', text: 'EXIT' });
  world.advance(100);
  assert.deepEqual(endReasons(world), ['client-exit']);
});

test('what others forge in a client’s name uses up nothing of what it may send', () => {
  const key = countingBytes(256);
  const config = dataPlaneConfig({ snapshot: { controlWrap: 'TlsCrypt' }, controlWrapKey: formatStaticKey(key) });
  const world = new SimulatedWorld({ config });
  const client = world.connect({ config: { wrap: { kind: 'tls-crypt', key } } });
  const forged = client.sent.find((bytes) => opcodeOf(bytes[0]) === Opcode.ControlV1)?.slice() ?? new Uint8Array(0);
  forged[forged.length - 1] ^= 1;
  for (let again = 0; again < 2_000; again += 1) world.receive(client.remote, forged);
  assert.deepEqual([...world.engine.stats().drops], [['bad-authentication', 2_000]]);
  client.handle({ kind: 'controlText', text: 'EXIT' });
  world.advance(100);
  assert.deepEqual(endReasons(world), ['client-exit']);
});

test('leases survive a restart', () => {
  const world = new SimulatedWorld();
  world.connect({ name: 'alice' });
  world.connect({ name: 'bob' });
  const leases = world.engine.leases();
  const next = new SimulatedWorld({ memory: { leases, totpSteps: [] } });
  assert.deepEqual(next.engine.leases(), leases);
  assert.equal(next.connect({ name: 'bob' }).settings?.tunnelAddress, '10.100.0.3');
  assert.equal(next.connect({ name: 'carol' }).settings?.tunnelAddress, '10.100.0.4');
  assert.equal(next.connect({ name: 'alice' }).settings?.tunnelAddress, '10.100.0.2');
});

test('a half-open session is gone after its minute', () => {
  const world = new SimulatedWorld();
  const client = world.client({ tls: { manner: 'no-finish' } });
  client.start();
  world.advance(30_000);
  assert.equal(world.engine.stats().opening, 1);
  world.advance(91_000);
  client.isMute = true;
  assertNothingHeld(world);
});

test('an address is proven before its sender costs anything: unknown remotes hold no state', () => {
  const world = new SimulatedWorld();
  for (let port = 1; port < 500; port += 1) world.receive(udpRemote('192.0.2.1', port), new Uint8Array(60).fill(port));
  assertNothingHeld(world);
});
