import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Opcode } from '../../dataplane/protocol/opcode.ts';
import { tlsCryptWrap } from '../../dataplane/protocol/control-wrap.ts';
import { formatStaticKey } from '../../dataplane/protocol/static-key.ts';
import { WrapPacketIds } from '../../dataplane/protocol/wrap-packet-id.ts';
import { dataPlaneConfig } from '../support/data-plane-configs.ts';
import { countingBytes } from '../support/hex.ts';
import { clientPacket, decodePlain } from '../support/raw-control.ts';
import type { SimulatedClient } from '../support/simulated-client.ts';
import { denied, grantByCertificate, SimulatedWorld, type WorldOptions } from '../support/simulated-world.ts';

const INNER = new Uint8Array(40).fill(0x45);

function renewedKeys(world: SimulatedWorld): readonly number[] {
  return world.eventsOf('renewed').map(({ keyId }) => keyId);
}

/** Packets that arrived at the tunnel from the client. */
function sendAndCount(world: SimulatedWorld, client: SimulatedClient): number {
  const before = world.tunnel.peers.get(0)?.received.length ?? 0;
  client.handle({ kind: 'inner', bytes: INNER });
  world.advance(50);
  return (world.tunnel.peers.get(0)?.received.length ?? 0) - before;
}

/** A world whose clients' renewals are judged differently from their logins. */
function worldWithRenewals(judge: WorldOptions['authenticate'], options: WorldOptions = {}): SimulatedWorld {
  return new SimulatedWorld({
    ...options,
    authenticate: (request) => (request.purpose === 'login' ? grantByCertificate(request) : judge?.(request)),
  });
}

test('[P88] answers a client’s soft reset, and both keys decrypt', () => {
  const world = new SimulatedWorld();
  const client = world.connect({ config: { protocolBits: 2 | 4 | 8 | 128, keySwitchMs: 5_000 } });
  const before = world.transmitted.length;
  client.handle({ kind: 'renew' });
  world.advance(1_000);
  const answer = decodePlain(world.transmitted[before].bytes);
  assert.deepEqual([answer.opcode, answer.keyId, answer.messageId, answer.acks], [Opcode.SoftResetV1, 1, 0, [0]]);
  assert.deepEqual(renewedKeys(world), [1]);
  assert.equal(client.machine.sendingKeyId, 0);
  assert.equal(sendAndCount(world, client), 1);
  world.advance(6_000);
  assert.equal(client.machine.sendingKeyId, 1);
  assert.equal(sendAndCount(world, client), 1);
});

test('[P89] drops a soft reset that skips keys, and one before the login', () => {
  const world = new SimulatedWorld({ authenticate: () => undefined });
  const client = world.client();
  client.start();
  world.advance(1_000);
  const sessionId = client.sent[0].slice(1, 9);
  const before = world.transmitted.length;
  world.receive(client.remote, clientPacket({ opcode: Opcode.SoftResetV1, keyId: 1, sessionId }));
  assert.equal(world.transmitted.length, before);

  const connected = new SimulatedWorld();
  const other = connected.connect({ config: { protocolBits: 2 } });
  const sent = connected.transmitted.length;
  const packet = clientPacket({ opcode: Opcode.SoftResetV1, keyId: 3, sessionId: other.sent[0].slice(1, 9) });
  connected.receive(other.remote, packet);
  assert.equal(connected.transmitted.length, sent);
  assert.equal(connected.engine.stats().drops.get('renewal-not-allowed'), 1);
});

test('[P90] renews by itself, and sends on the new key once the client does', () => {
  const world = new SimulatedWorld({ timers: { renegotiateMs: 600_000 } });
  const client = world.connect({ config: { keySwitchMs: 5_000 } });
  world.advance(600_000);
  assert.deepEqual(renewedKeys(world), [1]);
  assert.equal(sendAndCount(world, client), 1);
  world.advance(6_000);
  assert.equal(sendAndCount(world, client), 1);
  assert.equal(world.tunnel.peers.get(0)?.primary?.material.keyId, 1);
  client.receive(world.tunnel.seal(0, INNER));
  assert.equal(client.inner.length, 1);
});

for (const [when, pauseMs] of [
  ['while it may', 20_000],
  ['before it may', 5_000],
] as const) {
  test(`sends on the newest key once the client renews again, ${when}: it has let go of the key before`, () => {
    const world = new SimulatedWorld({ timers: { renegotiateMs: 0 } });
    const client = world.connect({ config: { keySwitchMs: 10_000_000 } });
    const sendingKeyId = (): number | undefined => world.tunnel.peers.get(0)?.primary?.material.keyId;
    client.handle({ kind: 'renew' });
    world.advance(pauseMs);
    assert.deepEqual([renewedKeys(world), sendingKeyId()], [[1], 0]);
    client.tlsClient = { certificate: client.tlsClient.certificate, manner: 'no-finish' };
    client.handle({ kind: 'renew' });
    world.advance(100);
    assert.deepEqual([renewedKeys(world), sendingKeyId()], [[1], 1]);
    assert.equal(sendAndCount(world, client), 1);
  });
}

/** A client whose acknowledgements under key 1 are all lost. */
function clientWithoutAcks(world: SimulatedWorld, keySwitchMs: number): SimulatedClient {
  const client = world.connect({ config: { keySwitchMs } });
  const sendRaw = client.sendRaw.bind(client);
  client.sendRaw = (bytes) => {
    if (bytes[0] !== ((Opcode.AckV1 << 3) | 1)) sendRaw(bytes);
  };
  return client;
}

test('receives under a new key before its acknowledgements are in, and takes data for them', () => {
  const world = new SimulatedWorld({ timers: { renegotiateMs: 0 } });
  const client = clientWithoutAcks(world, 5_000);
  client.handle({ kind: 'renew' });
  world.advance(4_000);
  assert.deepEqual(renewedKeys(world), []);
  assert.equal(sendAndCount(world, client), 1);
  world.advance(2_000);
  assert.equal(client.machine.sendingKeyId, 1);
  assert.equal(sendAndCount(world, client), 1);
  assert.deepEqual([renewedKeys(world), world.tunnel.peers.get(0)?.primary?.material.keyId], [[1], 1]);
});

test('takes a client’s next renewal for its acknowledgements of this one, should all of them be lost', () => {
  const world = new SimulatedWorld({ timers: { renegotiateMs: 0 } });
  const client = clientWithoutAcks(world, 10_000_000);
  client.handle({ kind: 'renew' });
  world.advance(15_000);
  assert.deepEqual(renewedKeys(world), []);
  client.handle({ kind: 'renew' });
  world.advance(20);
  // It has let go of the first key by now.
  assert.deepEqual([renewedKeys(world), world.tunnel.peers.get(0)?.primary?.material.keyId], [[1], 1]);
  world.advance(1_000);
  assert.deepEqual([renewedKeys(world), world.tunnel.peers.get(0)?.secondary?.material.keyId], [[1, 2], 2]);
});

test('a client whose acknowledgements are all lost is heard when it sends with the key, after the hand window', () => {
  const world = new SimulatedWorld({ timers: { renegotiateMs: 0 } });
  const client = clientWithoutAcks(world, 60_000);
  client.handle({ kind: 'renew' });
  world.advance(61_000);
  assert.equal(client.machine.sendingKeyId, 1);
  assert.equal(sendAndCount(world, client), 1);
  assert.deepEqual([renewedKeys(world), world.tunnel.peers.get(0)?.primary?.material.keyId], [[1], 1]);
});

test('a renewal that nobody acknowledges leaves no key behind', () => {
  const world = new SimulatedWorld({ timers: { renegotiateMs: 0 } });
  const client = clientWithoutAcks(world, 10_000_000);
  client.handle({ kind: 'renew' });
  world.advance(5_000);
  assert.equal(world.tunnel.peers.get(0)?.secondary?.material.keyId, 1);
  world.advance(90_000);
  const { primary, secondary } = world.tunnel.peers.get(0) ?? {};
  assert.deepEqual([renewedKeys(world), primary?.material.keyId, secondary], [[], 0, undefined]);
  assert.equal(sendAndCount(world, client), 1);
});

test('sends on the newest key once it renews again itself', () => {
  const world = new SimulatedWorld({ timers: { renegotiateMs: 600_000 } });
  const client = world.connect({ config: { keySwitchMs: 10_000_000 } });
  world.advance(600_000);
  assert.equal(world.tunnel.peers.get(0)?.primary?.material.keyId, 0);
  client.tlsClient = { certificate: client.tlsClient.certificate, manner: 'no-finish' };
  world.advance(600_000);
  assert.equal(world.tunnel.peers.get(0)?.primary?.material.keyId, 1);
});

for (const [when, ms] of [
  ['that has just begun', 20],
  ['that the gateway has not heard of yet', 1],
] as const) {
  test(`says its last words under the key of a renewal ${when}, too`, () => {
    const world = new SimulatedWorld();
    const client = world.connect();
    // As 2.x does while it renews.
    const receive = client.receive.bind(client);
    client.receive = (bytes) => {
      if (decodePlain(bytes).keyId === 1) receive(bytes);
    };
    client.handle({ kind: 'renew' });
    world.advance(ms);
    world.feed({ kind: 'shutdown', limitMs: 5_000 });
    world.advance(4_000);
    assert.match(client.closed ?? '', /^RESTART/);
  });
}

test('says its last words under the key of a renewal of its own that the client has not heard of yet, too', () => {
  const world = new SimulatedWorld();
  const client = world.connect();
  const receive = client.receive.bind(client);
  let isRenewing = false;
  // As 2.x does from the moment when it hears of the renewal.
  client.receive = (bytes) => {
    isRenewing ||= decodePlain(bytes).keyId === 1;
    if (!isRenewing || decodePlain(bytes).keyId === 1) receive(bytes);
  };
  world.feed({ kind: 'dataChannel', notification: { kind: 'keyExhausted', peerId: 0, generation: 1, keyId: 0 } });
  world.feed({ kind: 'shutdown', limitMs: 5_000 });
  world.advance(4_000);
  assert.match(client.closed ?? '', /^RESTART/);
});

test('[P91] counts keys 1 to 7 and then from 1 again, each working', () => {
  const world = new SimulatedWorld({ timers: { renegotiateMs: 0 } });
  const client = world.connect({ config: { keySwitchMs: 1_000 } });
  for (let round = 0; round < 9; round += 1) {
    client.handle({ kind: 'renew' });
    world.advance(20_000);
    assert.equal(sendAndCount(world, client), 1);
  }
  assert.deepEqual(renewedKeys(world), [1, 2, 3, 4, 5, 6, 7, 1, 2]);
  // One TLS connection for the current key, at most one for the retiring.
  world.advance(121_000);
  assert.equal(world.tls.size, 1);
});

test('[P92] keeps the old key when a renewal stalls, and tries again', () => {
  const world = new SimulatedWorld({ timers: { renegotiateMs: 600_000 } });
  const client = world.connect();
  const { certificate } = client.tlsClient;
  client.tlsClient = { certificate, manner: 'no-finish' };
  world.advance(600_000 + 61_000);
  assert.deepEqual(renewedKeys(world), []);
  assert.equal(world.tls.size, 1);
  assert.equal(world.eventsOf('handshakeFailed')[0]?.reason, 'renewal-hand-window-over');
  assert.equal(sendAndCount(world, client), 1);
  client.tlsClient = { certificate, manner: 'honest' };
  world.advance(180_000);
  assert.equal(renewedKeys(world).length, 1);
  assert.equal(sendAndCount(world, client), 1);
});

for (const [what, change] of [
  ['certificate', { certificateFingerprints: ['00'] }],
  ['common name', { commonName: 'mallory' }],
  ['user name', { username: 'mallory' }],
] as const) {
  test(`[P93] ends a session whose ${what} changes at a renewal`, () => {
    const world = worldWithRenewals((request) => {
      const verdict = grantByCertificate(request);
      return verdict.kind === 'granted' ? { ...verdict, identity: { ...verdict.identity, ...change } } : verdict;
    });
    const client = world.connect();
    client.handle({ kind: 'renew' });
    world.advance(2_000);
    assert.match(client.closed ?? '', /^AUTH_FAILED/);
    assert.equal(world.tunnel.peers.size, 0);
    assert.equal(world.connections()[0]?.endReason, 'identity-changed');
  });
}

test('[P49] ends a session whose certificate is refused at its renewal', () => {
  const world = worldWithRenewals(() => denied('certificate not accepted', { certificateRefused: true }));
  const client = world.connect();
  client.handle({ kind: 'renew' });
  world.advance(2_000);
  assert.equal(client.closed, 'AUTH_FAILED,certificate not accepted');
  assert.equal(world.tunnel.peers.size, 0);
});

test('[P97] makes one key of two soft resets that cross', () => {
  const world = new SimulatedWorld({ timers: { renegotiateMs: 600_000 } });
  const client = world.connect();
  const [newPeer] = world.commands.filter((command) => command.verb === 'newPeer');
  const { peerId, generation } = newPeer.peer;
  world.feed({ kind: 'dataChannel', notification: { kind: 'keyExhausted', peerId, generation, keyId: 0 } });
  client.handle({ kind: 'renew' });
  world.advance(5_000);
  assert.deepEqual(renewedKeys(world), [1]);
  assert.equal(sendAndCount(world, client), 1);
});

test('a key that is nearly used up is renewed at once, and only once', () => {
  const world = new SimulatedWorld();
  world.connect();
  for (let again = 0; again < 3; again += 1)
    world.feed({ kind: 'dataChannel', notification: { kind: 'keyExhausted', peerId: 0, generation: 1, keyId: 0 } });
  world.advance(5_000);
  world.feed({ kind: 'dataChannel', notification: { kind: 'keyExhausted', peerId: 0, generation: 1, keyId: 0 } });
  world.advance(5_000);
  assert.deepEqual(renewedKeys(world), [1]);
});

test('lets a client renew once in 10 s', () => {
  const world = new SimulatedWorld();
  const client = world.connect();
  client.handle({ kind: 'renew' });
  world.advance(2_000);
  client.handle({ kind: 'renew' });
  world.advance(5_000);
  assert.deepEqual(renewedKeys(world), [1]);
  world.advance(10_000);
  assert.deepEqual(renewedKeys(world), [1, 2]);
});

test('the old key receives for the whole transition window, then it is deleted', () => {
  const world = new SimulatedWorld({ timers: { renegotiateMs: 0 } });
  const client = world.connect({ config: { keySwitchMs: 10_000_000 } });
  client.handle({ kind: 'renew' });
  world.advance(3_500_000);
  assert.equal(sendAndCount(world, client), 1);
  assert.equal(world.commands.filter(({ verb }) => verb === 'deleteKey').length, 0);
  // It must not take the sending key with it: the switch is made first.
  world.advance(100_000);
  assert.deepEqual(
    world.commands.slice(-2).map(({ verb }) => verb),
    ['swapKeys', 'deleteKey'],
  );
});

test('hears an EXIT under the old key a minute after a renewal, as OpenVPN 3 sends it', () => {
  const world = new SimulatedWorld();
  const client = world.connect({ config: { protocolBits: 2 | 4 | 8 | 128 } });
  const before = client.sent.length;
  client.handle({ kind: 'controlText', text: 'EXIT' });
  const oldKeyPackets = client.sent.slice(before);
  const world2 = new SimulatedWorld();
  const other = world2.connect({ config: { protocolBits: 2 | 4 | 8 | 128 } });
  other.isMute = true;
  other.handle({ kind: 'controlText', text: 'EXIT' });
  world2.clock.advance(1);
  const exit = other.sent.at(-1) ?? new Uint8Array(0);
  assert.equal(exit.length, oldKeyPackets[0]?.length ?? exit.length);
  other.isMute = false;
  other.handle({ kind: 'renew' });
  world2.clock.advance(1_000);
  world2.advance(500);
  assert.deepEqual(renewedKeys(world2), [1]);
  world2.clock.advance(60_000);
  world2.receive(other.remote, exit);
  world2.advance(100);
  assert.equal(world2.eventsOf('disconnected')[0]?.reason, 'client-exit');
});

test('does not start a renewal that an AWS client would have to ask its user for', () => {
  for (const [authToken, expected] of [
    [null, []],
    ['TOKEN', [1]],
  ] as const) {
    const world = new SimulatedWorld({
      timers: { renegotiateMs: 600_000 },
      authenticate: (request) => {
        const verdict = grantByCertificate(request);
        return verdict.kind === 'granted' ? { ...verdict, authToken } : verdict;
      },
    });
    world.connect({ config: { framing: 'aws', username: 'N/A', password: 'CRV1::state::assertion' } });
    world.advance(700_000);
    assert.deepEqual(renewedKeys(world), expected);
  }
});

for (const [what, renegotiateMs, config] of [
  ['an AWS client’s', 600_000, { framing: 'aws', username: 'N/A', password: 'CRV1::state::assertion' }],
  ['a client’s, where the gateway never renews,', 0, {}],
] as const) {
  test(`does not start a renewal because ${what} own has failed`, () => {
    const world = new SimulatedWorld({ timers: { renegotiateMs } });
    const client = world.connect({ config });
    client.tlsClient = { certificate: client.tlsClient.certificate, manner: 'no-finish' };
    client.handle({ kind: 'renew' });
    world.advance(61_000);
    assert.equal(world.eventsOf('handshakeFailed').length, 1);
    const before = world.transmitted.length;
    world.advance(120_000);
    const sent = world.transmitted.slice(before).map(({ bytes }) => decodePlain(bytes).opcode);
    assert.ok(!sent.includes(Opcode.SoftResetV1));
  });
}

test('[P46] takes renewals only under the derived key once dynamic tls-crypt was pushed', () => {
  const key = countingBytes(256, 3);
  const config = dataPlaneConfig({ snapshot: { controlWrap: 'TlsCrypt' }, controlWrapKey: formatStaticKey(key) });
  const world = new SimulatedWorld({ config });
  const client = world.connect({ config: { wrap: { kind: 'tls-crypt', key } } });
  const sessionId = client.sent[0].slice(1, 9);
  const ids = new WrapPacketIds(Math.floor(world.clock.unixMs / 1000) + 10);
  const before = world.transmitted.length;
  const reset = clientPacket({ opcode: Opcode.SoftResetV1, keyId: 1, sessionId }, tlsCryptWrap(key, 'client'), ids);
  world.receive(client.remote, reset);
  assert.equal(world.transmitted.length, before);
  assert.equal(world.engine.stats().drops.get('bad-authentication'), 1);
  client.handle({ kind: 'renew' });
  world.advance(5_000);
  assert.deepEqual(renewedKeys(world), [1]);
});

test('hands out a renewed token after a renewal', () => {
  const world = new SimulatedWorld({
    authenticate: (request) => ({
      ...grantByCertificate(request),
      ...(request.purpose === 'login' ? { authToken: 'TOKEN-1' } : { authToken: 'TOKEN-2' }),
    }),
  });
  const client = world.connect({ config: { username: 'alice', password: 'secret' } });
  assert.ok(client.settings?.options.includes('auth-token TOKEN-1'));
  client.handle({ kind: 'renew' });
  world.advance(3_000);
  assert.equal(client.messages.at(-1), 'PUSH_REPLY,auth-token TOKEN-2');
});

test('renewals use the groups of their own verdict', () => {
  const world = worldWithRenewals((request) => {
    const verdict = grantByCertificate(request);
    return verdict.kind === 'granted' ? { ...verdict, identity: { ...verdict.identity, groups: ['new'] } } : verdict;
  });
  const client = world.connect();
  assert.equal(world.tunnel.peers.get(0)?.groups.length, 0);
  client.handle({ kind: 'renew' });
  world.advance(3_000);
  assert.equal(world.tunnel.peers.get(0)?.groups.length, 1);
});
