import assert from 'node:assert/strict';
import { test } from 'node:test';
import { waitForProgress, waitUntilFlowStopped, waitUntilStopped } from '../support/flows.ts';
import { gatewayProcesses } from '../support/gateway-processes.ts';
import { endpoint, route, rule, targetNetwork, users, yamlOf } from '../support/manifests.ts';
import { METRICS_LISTEN, metricValue } from '../support/metrics.ts';
import { TARGETS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();
const VPC = rule('192.168.0.0/24');
const ON_PREMISES = rule('172.16.0.0/24');

function manifests(transport: 'udp' | 'tcp') {
  return {
    'endpoint.yaml': yamlOf(endpoint({ transport }), targetNetwork(), route('172.16.0.0/24')),
    'rules.yaml': yamlOf(VPC, ON_PREMISES),
  };
}

for (const transport of ['udp', 'tcp'] as const) {
  test(`[C70] [C71] a removed rule cuts its flows over ${transport} and no others`, { skip }, async (t) => {
    const world = await World.create(t, { manifests: manifests(transport) });
    const client = await world.connect();
    const agent = world.agent();
    const download = await agent.download(TARGETS.onPremises);
    const toClient = await agent.receiveStream(TARGETS.onPremises);
    const fromClient = await agent.sendStream(TARGETS.onPremises, 50);
    const other = await agent.download(TARGETS.vpc);
    const otherStream = await agent.receiveStream(TARGETS.vpc);
    for (const flow of [download, toClient, fromClient, other, otherStream]) await waitForProgress(flow);
    const sunk = async () => Object.values(await world.target.sunk()).reduce((sum, count) => sum + count, 0);

    world.gateway.write('rules.yaml', yamlOf(VPC));
    const stopped = await Promise.all([
      waitUntilFlowStopped(download),
      // Nothing the client sends keeps this stream alive: only the gateway's own check can end it.
      waitUntilFlowStopped(toClient),
      waitUntilStopped(sunk),
    ]);
    t.diagnostic(`download, stream to the client, stream from the client stopped after ${stopped.join(', ')} s`);
    await waitForProgress(other);
    await waitForProgress(otherStream);

    // A client is told of ten refusals a second at most: the stopped flows must not use them up.
    await download.stop();
    await fromClient.stop();
    const refusal = await waitFor('an ICMP refusal', async () => {
      const { error } = await agent.fetch(TARGETS.onPremises);
      return error === 'EHOSTUNREACH';
    });
    assert.ok(refusal);

    world.gateway.write('rules.yaml', yamlOf(VPC, ON_PREMISES));
    await waitFor('the rule to hold again', () => agent.reaches(TARGETS.onPremises));
    await waitForProgress(toClient);
    assert.equal(client.keyExchanges(), 1);
    assert.equal(world.gateway.connections().length, 1, 'nobody was disconnected');
  });
}

test('an edit with a mistake is refused whole, and status says so', { skip }, async (t) => {
  const world = await World.create(t, {
    options: ['--metrics-listen', METRICS_LISTEN],
    manifests: manifests('udp'),
  });
  await world.connect();
  const before = world.gateway.status();
  assert.equal(before.refused, null);
  const isAlerted = (): boolean => metricValue(world.lab, 'clientvpn_manifests_refused') === 1;
  assert.equal(isAlerted(), false);

  world.gateway.write('rules.yaml', yamlOf(VPC, rule('172.16.0.1/24')));
  const refused = await waitFor('the refusal in status', () => world.gateway.status().refused ?? undefined);
  assert.match(
    refused.findings.join('\n'),
    /rules\.yaml:\d+: AuthorizationRule\/rule-172-16-0-1-24-all: .*destinationCIDR.*: .+/,
  );
  const during = world.gateway.status();
  assert.deepEqual(during.snapshot, before.snapshot);
  assert.ok(await world.agent().reaches(TARGETS.onPremises), 'the last good rules hold, the removed one too');
  await waitFor('the metric to say so', isAlerted);

  await world.gateway.apply('rules.yaml', yamlOf(VPC));
  assert.equal(world.gateway.status().refused, null);
  assert.equal(await world.agent().reaches(TARGETS.onPremises), false);
  await waitFor('the metric to say so', () => !isAlerted());
});

test('a data plane that is started anew knows that the last edit was refused', { skip }, async (t) => {
  const world = await World.create(t, { options: ['--metrics-listen', METRICS_LISTEN] });
  world.gateway.write('rules.yaml', yamlOf(rule('172.16.0.1/24')));
  await world.gateway.log.waitFor(/Refused the edited manifests/);
  const { child } = await gatewayProcesses(world.gateway);
  process.kill(child, 'SIGKILL');
  await world.gateway.log.waitFor(/The data plane is back/);
  await waitFor('the metric to say so', () => metricValue(world.lab, 'clientvpn_manifests_refused') === 1);
});

test('an edit of what cannot change while running asks for a restart', { skip }, async (t) => {
  const world = await World.create(t);
  world.gateway.write('endpoint.yaml', yamlOf(endpoint({ port: 443 }), targetNetwork()));
  const refused = await waitFor('the refusal in status', () => world.gateway.status().refused ?? undefined);
  assert.match(refused.findings.join('\n'), /restart to apply/);
});

test('removing every manifest is refused, nobody loses anything', { skip }, async (t) => {
  const world = await World.create(t);
  await world.connect();
  world.gateway.write('endpoint.yaml', '');
  await waitFor('the refusal in status', () => world.gateway.status().refused ?? undefined);
  assert.ok(await world.agent().reaches(TARGETS.vpc));
});

test('[C75] groups taken from a connected user count from the next packet', { skip }, async (t) => {
  const person = { name: 'eve', password: 'secret of eve' };
  const setUp = (groups: readonly string[]) =>
    yamlOf(
      endpoint({ local: 'staff' }),
      targetNetwork(),
      rule('192.168.0.0/24', 'staff'),
      ...users('staff', [{ ...person, groups }]),
    );
  const world = await World.create(t, { manifests: { 'all.yaml': setUp(['staff']) } });
  await world.connect({ certificate: null, credentials: { username: person.name, password: person.password } });
  const stream = await world.agent().receiveStream(TARGETS.vpc);
  await waitForProgress(stream);

  world.gateway.write('all.yaml', setUp(['Staff']));
  await waitUntilFlowStopped(stream);
  assert.equal(world.gateway.connections()[0]?.status, 'active');

  world.gateway.write('all.yaml', setUp(['staff']));
  await waitForProgress(stream);
});
