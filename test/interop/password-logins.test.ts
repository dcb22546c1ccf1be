import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endpoint, rule, targetNetwork, users, yamlOf, type UserOptions } from '../support/manifests.ts';
import { TARGETS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { totpCode } from '../support/totp.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();
const TOTP_SECRET = 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP';
const ALICE = { name: 'alice', password: 'correct horse "battery" \\ staple', groups: ['staff'] };

function manifests(options: {
  readonly people?: readonly UserOptions[];
  readonly mfa?: boolean;
  readonly mutual?: boolean;
}) {
  return {
    'endpoint.yaml': yamlOf(
      endpoint({ local: 'staff', mutual: options.mutual ?? false }),
      targetNetwork(),
      rule('192.168.0.0/24', 'staff'),
    ),
    'users.yaml': yamlOf(...users('staff', options.people ?? [ALICE], options.mfa ?? false)),
  };
}

test('[C79] a user with the right password connects, with groups', { skip }, async (t) => {
  const world = await World.create(t, { manifests: manifests({}) });
  await world.connect({ certificate: null, credentials: { username: 'alice', password: ALICE.password } });
  assert.ok(await world.agent().reaches(TARGETS.vpc));
  const [connection] = world.gateway.connections();
  assert.deepEqual(
    { username: connection?.username, commonName: connection?.commonName, groups: connection?.groups },
    { username: 'alice', commonName: '', groups: ['staff'] },
  );
  const line = JSON.parse(await world.gateway.log.waitFor(/"msg":"Connected"/)) as Record<string, string>;
  const { connectionId, remote } = connection ?? {};
  assert.deepEqual([line['username'], line['connectionId'], line['remote']], ['alice', connectionId, remote]);
});

for (const { what, username, password } of [
  { what: 'a wrong password', username: 'alice', password: 'wrong' },
  { what: 'an unknown name', username: 'mallory', password: ALICE.password },
]) {
  test(`[P58] [C79] ${what} is refused and listed as failed`, { skip }, async (t) => {
    const world = await World.create(t, { manifests: manifests({}) });
    const client = world.client({ certificate: null, credentials: { username, password } });
    await client.refused();
    await client.exited();
    const [failed] = world.gateway.connections();
    assert.equal(failed?.status, 'failed');
    assert.equal(failed.clientIp, null);
    const refused = JSON.parse(await world.gateway.log.waitFor(/"msg":"Refused login"/)) as Record<string, string>;
    const log = world.gateway.log.lines.join('\n');
    assert.equal(log.includes(password), false, 'no password in the log');
    assert.deepEqual([refused['remote'], refused['connectionId']], [failed.remote, failed.connectionId]);
    assert.equal(refused['username'], username === 'alice' ? 'alice' : undefined);
    assert.equal(log.includes('mallory'), false, 'what might be a password is not logged');
  });
}

test('[C80] a one-time code is asked for, and is good once', { skip }, async (t) => {
  const people = [{ ...ALICE, totpSecret: TOTP_SECRET }];
  const world = await World.create(t, { clients: 2, manifests: manifests({ people, mfa: true }) });
  assert.match(world.gateway.clientConfig(), /^static-challenge "Enter MFA code " 1$/m);
  const code = totpCode(TOTP_SECRET, Date.now());
  const credentials = { username: 'alice', password: ALICE.password, code: () => code };

  const wrong = world.client({ certificate: null, credentials: { ...credentials, code: () => flipped(code) } });
  await wrong.refused();
  await wrong.exited();
  await world.connect({ certificate: null, credentials });
  assert.ok(await world.agent().reaches(TARGETS.vpc));

  const replay = world.client({ index: 1, certificate: null, credentials });
  await replay.refused();
});

test('[P94] a renewal and a reconnect ask nobody for a code again', { skip }, async (t) => {
  const people = [{ ...ALICE, totpSecret: TOTP_SECRET }];
  const world = await World.create(t, { manifests: manifests({ people, mfa: true }), timers: { renegotiateMs: 4000 } });
  let asked = 0;
  const code = (): string => {
    asked += 1;
    return totpCode(TOTP_SECRET, Date.now());
  };
  const client = await world.connect({
    certificate: null,
    credentials: { username: 'alice', password: ALICE.password, code },
    options: ['--reneg-sec', '0'],
  });
  await waitFor('two renewals', () => client.keyExchanges() >= 3, 20_000);

  const mark = client.log.mark();
  // A restart of the client's connection, as after a change of network.
  client.signal('SIGUSR1');
  await client.connected({ from: mark, timeoutMs: 30_000 });
  assert.ok(await world.agent().reaches(TARGETS.vpc));
  assert.equal(asked, 1);
});

test('[C90] certificate and password are both needed where both are configured', { skip }, async (t) => {
  const world = await World.create(t, { manifests: manifests({ mutual: true }) });
  const credentials = { username: 'alice', password: ALICE.password };

  const wrongPassword = world.client({ certificate: 'laptop', credentials: { ...credentials, password: 'wrong' } });
  await wrongPassword.refused();
  await wrongPassword.exited();

  // The file of a client without a certificate, for somebody who knows the password alone.
  const profile = world.gateway
    .clientConfig({ client: 'laptop' })
    .replace(/<cert>[\s\S]*<\/cert>\n/, '')
    .replace(/<key>[\s\S]*<\/key>\n/, '');
  const noCertificate = world.client({ profile, credentials });
  await noCertificate.refused();
  await noCertificate.exited();

  await world.connect({ certificate: 'laptop', credentials });
  const active = world.gateway.connections().find(({ status }) => status === 'active');
  assert.deepEqual(
    { username: active?.username, commonName: active?.commonName },
    { username: 'alice', commonName: 'laptop' },
  );
});

test('a user who is removed is cut, others stay', { skip }, async (t) => {
  const bob = { name: 'bob', password: 'of bob', groups: ['staff'] };
  const world = await World.create(t, { clients: 2, manifests: manifests({ people: [ALICE, bob] }) });
  const alice = await world.connect({
    index: 0,
    certificate: null,
    credentials: { username: 'alice', password: ALICE.password },
  });
  await world.connect({ index: 1, certificate: null, credentials: { username: 'bob', password: bob.password } });

  world.gateway.write('users.yaml', yamlOf(...users('staff', [bob])));
  await alice.exited();
  assert.deepEqual(
    world.gateway
      .connections()
      .filter(({ status }) => status === 'active')
      .map(({ username }) => username),
    ['bob'],
  );
  assert.ok(await world.agent(1).reaches(TARGETS.vpc));
});

/** Another code of six digits. */
function flipped(code: string): string {
  return String((Number(code) + 1) % 1_000_000).padStart(6, '0');
}
