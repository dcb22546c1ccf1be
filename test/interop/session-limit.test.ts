// The longest a session may last, with hours made short.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endpoint, rule, targetNetwork, users, yamlOf } from '../support/manifests.ts';
import { TARGETS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();
const ALICE = { name: 'alice', password: 'of alice' };
const CREDENTIALS = { username: 'alice', password: ALICE.password };

function manifests(disconnectOnSessionTimeout: boolean) {
  const spec = { sessionTimeoutHours: 8, disconnectOnSessionTimeout };
  return {
    'all.yaml': yamlOf(
      endpoint({ spec, local: 'staff', mutual: true }),
      targetNetwork(),
      rule('192.168.0.0/24'),
      ...users('staff', [ALICE]),
    ),
  };
}

test('[C108] a session at its longest ends, and the client is back by itself', { skip }, async (t) => {
  const world = await World.create(t, { manifests: manifests(false), timers: { sessionHourMs: 500 } });
  const client = await world.connect({ credentials: CREDENTIALS });
  const mark = client.log.mark();
  await client.log.waitFor(/Connection reset command was pushed by server/, { from: mark });
  await client.connected({ from: mark });
  assert.ok(await world.agent().reaches(TARGETS.vpc));
  const [active] = world.gateway.connections().filter(({ status }) => status === 'active');
  const [ended] = world.gateway.connections().filter(({ status }) => status === 'terminated');
  assert.ok(ended !== undefined && ended.connectionId !== active?.connectionId, 'a connection of its own');
  assert.equal(ended.clientIp, active?.clientIp, 'at the address it had');
});

test('[C109] with disconnect, the client is told to stay away', { skip }, async (t) => {
  const world = await World.create(t, { manifests: manifests(true), timers: { sessionHourMs: 500 } });
  const client = await world.connect({ credentials: CREDENTIALS });
  await client.exited();
  assert.match(client.log.lines.join('\n'), /maximum session duration/);
  const listed = world.gateway.connections();
  assert.deepEqual(
    listed.map(({ status }) => status),
    ['terminated'],
  );
});

test('[C110] [C111] hours and the switch that change hold for sessions that are open', { skip }, async (t) => {
  const world = await World.create(t, { manifests: manifests(false), timers: { sessionHourMs: 600_000 } });
  const client = await world.connect({ credentials: CREDENTIALS });
  await world.gateway.apply('all.yaml', manifests(true)['all.yaml']);
  assert.equal(world.gateway.connections()[0]?.status, 'active');
  assert.equal(client.keyExchanges(), 1, 'neither edit disturbs who is within the limit');
  await waitFor('the session', async () => world.agent().reaches(TARGETS.vpc));
});
