import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { waitForProgress } from '../support/flows.ts';
import { endpoint, rule, secret, targetNetwork, users, yamlOf } from '../support/manifests.ts';
import { TARGETS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { waitFor } from '../support/wait.ts';
import { DEFAULT_MANIFESTS, World } from '../support/world.ts';

const skip = skipWithoutNamespaces();

test('[C105] [C106] a terminated connection ends at once, the others go on', { skip }, async (t) => {
  const world = await World.create(t, { clients: 2 });
  const first = await world.connect({ index: 0, certificate: 'alice' });
  await world.connect({ index: 1, certificate: 'bob' });
  const download = await world.agent(1).download(TARGETS.vpc);
  const alice = world.gateway.connections().find(({ commonName }) => commonName === 'alice');
  assert.match(alice?.connectionId ?? '', /^cvpn-connection-[0-9a-f]{17}$/);

  assert.equal(world.gateway.terminate(alice?.connectionId ?? '').status, 0);
  await first.exited();
  await waitForProgress(download);
  const ended = world.gateway.connections().find(({ commonName }) => commonName === 'alice');
  assert.equal(ended?.status, 'terminated');
  assert.equal(ended.endReason, 'terminated');
  assert.notEqual(ended.endTime, null);
  assert.notEqual(world.gateway.terminate('cvpn-connection-00000000000000000').status, 0);
});

test('the traffic of a connection is counted in both directions', { skip }, async (t) => {
  const world = await World.create(t);
  await world.connect();
  for (let count = 0; count < 5; count += 1) assert.ok(await world.agent().echo(TARGETS.vpc, 1000));
  // Five packets of 1,000 bytes of payload and 28 of headers each way; the client may have sent a few of its own.
  const counted = await waitFor('the counters', () =>
    world.gateway.connections().find((c) => c.ingressPackets >= 5 && c.egressPackets >= 5),
  );
  assert.ok(counted.ingressBytes >= 5140 && counted.egressBytes >= 5140);
});

test('one client certificate may hold several connections, each with its address', { skip }, async (t) => {
  const world = await World.create(t, { clients: 2 });
  const [first, second] = [
    await world.connect({ index: 0, certificate: 'alice' }),
    await world.connect({ index: 1, certificate: 'alice' }),
  ];
  assert.notEqual(first.tunnelAddress(), second.tunnelAddress());
  assert.ok((await world.agent(0).reaches(TARGETS.vpc)) && (await world.agent(1).reaches(TARGETS.vpc)));
});

test('[C113] each connection writes log lines with the guide’s keys where logging is on', { skip }, async (t) => {
  const spec = { connectionLogging: { enabled: true, group: 'vpn' } };
  const world = await World.create(t, {
    manifests: { 'all.yaml': yamlOf(endpoint({ spec }), targetNetwork(), rule('192.168.0.0/24')) },
  });
  const client = await world.connect({ certificate: 'alice' });
  await client.stop();
  const line = await world.gateway.log.waitFor(/"connection-end-time":"\d{4}-/);
  const entry = JSON.parse(line) as Record<string, string>;
  assert.equal(entry['common-name'], 'alice');
  assert.equal(entry['username'], 'NA');
  assert.match(entry['connection-start-time'] ?? '', /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/);
});

test('[C17] a manifest with a finding stops the start, with file and line', { skip }, async (t) => {
  const world = await World.create(t, {
    started: false,
    manifests: { ...DEFAULT_MANIFESTS, 'bad.yaml': yamlOf(rule('10.0.0.1/8')) },
  });
  world.gateway.spawn();
  assert.equal(await world.gateway.exited(), 2);
  assert.ok(
    world.gateway.log.lines.some((line) => /bad\.yaml:\d+: AuthorizationRule\/rule-10-0-0-1-8-all: .+: .+/.test(line)),
    world.gateway.log.lines.join('\n'),
  );
});

test('[C133] planted secrets show up in no log, status or command line', { skip }, async (t) => {
  const planted = 'planted-password-8731';
  const person = { name: 'alice', password: planted, groups: ['staff'], totpSecret: 'PLANTEDPLANTEDPL' };
  const world = await World.create(t, {
    options: ['--log-level', 'debug'],
    manifests: {
      'all.yaml': yamlOf(endpoint({ local: 'staff', mutual: true }), targetNetwork(), rule('192.168.0.0/24')),
      'users.yaml': yamlOf(...users('staff', [person]), secret('unrelated', { token: 'planted-token-9912' })),
    },
  });
  const credentials = { username: 'alice', password: planted };
  await world.connect({ certificate: 'alice', credentials });
  const commandLines = world.lab.gateway.must('sh', '-c', 'cat /proc/[0-9]*/cmdline 2>/dev/null || true');
  const key = readFileSync(join(world.gateway.stateDir, CLIENT_KEY), 'utf8');
  const body = key.split('\n').find((line) => /^[A-Za-z0-9+/]{60,}$/.test(line)) ?? '';
  assert.notEqual(body, '');
  const visible = [...world.gateway.log.lines, JSON.stringify(world.gateway.status()), commandLines].join('\n');
  for (const text of [planted, 'PLANTEDPLANTEDPL', 'planted-token-9912', '$argon2id$', body]) {
    assert.equal(visible.includes(text), false, text);
  }
});

test('private keys in the state folder are readable by root alone', { skip }, async (t) => {
  const world = await World.create(t);
  world.gateway.clientConfig({ client: 'alice' });
  assert.equal(statSync(world.gateway.stateDir).mode & 0o777, 0o700);
  const path = join(world.gateway.stateDir, CLIENT_KEY);
  assert.equal(statSync(path).mode & 0o777, 0o600);
});

const CLIENT_KEY = join('pki', 'default', 'clients', 'clients', 'alice.pem');
