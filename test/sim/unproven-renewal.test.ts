import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dataPlaneConfig } from '../support/data-plane-configs.ts';
import { decodePlain } from '../support/raw-control.ts';
import type { SimulatedClient } from '../support/simulated-client.ts';
import { denied, grantByCertificate, SimulatedWorld } from '../support/simulated-world.ts';

const TOKEN = 'SESS_ID_AT_of-alice';

/** Alice, connected with a token, and somebody who knows her session ids in the middle of a renewal of their own. */
function renewingWorld(): { world: SimulatedWorld; client: SimulatedClient; since: number } {
  const world = new SimulatedWorld({
    authenticate: (request) =>
      request.purpose === 'login' ? { ...grantByCertificate(request), authToken: TOKEN } : undefined,
  });
  const client = world.connect({ config: { protocolBits: 8094, username: 'alice', password: 'secret' } });
  world.advance(31_000);
  const since = client.messages.length;
  client.handle({ kind: 'renew' });
  world.advance(1_000);
  client.handle({ kind: 'controlText', text: 'PUSH_REQUEST' });
  world.advance(1_000);
  return { world, client, since };
}

test('[P101] hands no token to whoever asks under a renewal that is not granted (CVE-2020-15078)', () => {
  const { world, client, since } = renewingWorld();
  assert.deepEqual(client.messages.slice(since), []);
  world.decide(world.requests.at(-1)?.requestId ?? -1, denied('no'));
  world.advance(10_000);
  assert.deepEqual(client.messages.slice(since), ['AUTH_FAILED,no']);
});

test('what was to be said during a renewal is said once it is granted', () => {
  const { world, client, since } = renewingWorld();
  const routes = [{ name: 'more', cidr: '10.99.0.0/16', via: 'TargetNetwork' }] as const;
  world.feed({ kind: 'configChanged', config: dataPlaneConfig({ snapshot: { routing: { 'net-a': routes } } }) });
  const request = world.requests.at(-1);
  assert.ok(request !== undefined);
  world.decide(request.requestId, grantByCertificate(request));
  world.advance(1_000);
  const said = client.messages.slice(since);
  assert.deepEqual(
    said.map((text) => text.split(',', 1)[0]),
    ['PUSH_REPLY', 'PUSH_UPDATE'],
  );
  assert.ok(said[0].includes(`auth-token ${TOKEN}`));
});

test('what was to be said during a renewal that stalls is said under the key that stays', () => {
  const world = new SimulatedWorld();
  const client = world.connect({ config: { username: 'alice', password: 'secret' } });
  world.advance(31_000);
  const since = client.messages.length;
  const { certificate } = client.tlsClient;
  client.tlsClient = { certificate, manner: 'no-finish' };
  client.handle({ kind: 'renew' });
  world.advance(1_000);
  client.handle({ kind: 'controlText', text: 'PUSH_REQUEST' });
  world.advance(1_000);
  assert.deepEqual(client.messages.slice(since), []);
  world.advance(61_000);
  assert.equal(client.messages.slice(since).length, 1);
});

for (const [when, ms] of [
  ['was lost before the renewal began', 300],
  ['crossed its first packet', 0],
] as const)
  test(`what a client has not read because it ${when} is said again under the new key`, () => {
    const world = new SimulatedWorld();
    const client = world.connect({ config: { protocolBits: 8094 } });
    const since = client.messages.length;
    // As 2.x does from the moment when it renews; until then everything is lost.
    const receive = client.receive.bind(client);
    client.receive = (bytes) => {
      if (decodePlain(bytes).keyId === 1) receive(bytes);
    };
    const routes = [{ name: 'more', cidr: '10.99.0.0/16', via: 'TargetNetwork' }] as const;
    world.feed({ kind: 'configChanged', config: dataPlaneConfig({ snapshot: { routing: { 'net-a': routes } } }) });
    world.advance(ms);
    client.handle({ kind: 'renew' });
    world.advance(2_000);
    assert.deepEqual(client.messages.slice(since), ['PUSH_UPDATE,route 10.99.0.0 255.255.0.0']);
  });

test('what a client has acknowledged is not said again under the next key', () => {
  const world = new SimulatedWorld();
  const client = world.connect({ config: { protocolBits: 8094 } });
  const before = [...client.messages];
  client.handle({ kind: 'renew' });
  world.advance(2_000);
  assert.equal(world.eventsOf('renewed').length, 1);
  assert.deepEqual(client.messages, before);
});
