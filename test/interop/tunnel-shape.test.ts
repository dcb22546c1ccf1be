import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endpoint, route, rule, targetNetwork, yamlOf } from '../support/manifests.ts';
import { GATEWAY_ADDRESS, INTERNET_IPV6, TARGETS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();

test('[C55] a split tunnel takes exactly the endpoint’s routes', { skip }, async (t) => {
  const world = await World.create(t, {
    manifests: { 'all.yaml': yamlOf(endpoint(), targetNetwork(), route('172.16.0.0/24'), rule('192.168.0.0/24')) },
  });
  const client = await world.connect();
  const destinations = client
    .routes()
    .filter(({ dev }) => dev === 'tun0')
    .map(({ dst }) => dst)
    .sort();
  assert.deepEqual(destinations, ['10.200.0.0/22', '172.16.0.0/24', '192.168.0.0/24']);
  assert.equal(client.deviceTo(TARGETS.internet), 'wan0');
  assert.ok(client.namespace.ping(INTERNET_IPV6), 'IPv6 stays outside a split tunnel');
});

test('[P78] a hundred routes arrive in a client’s table, in as many messages as it takes', { skip }, async (t) => {
  const networks = Array.from({ length: 100 }, (_, index) => `172.20.${index}.0/24`);
  const world = await World.create(t, {
    options: ['--quota', 'routes=100'],
    manifests: {
      'all.yaml': yamlOf(
        endpoint(),
        targetNetwork(),
        rule('192.168.0.0/24'),
        ...networks.map((network) => route(network)),
      ),
    },
  });
  const client = await world.connect();
  const table = client.routes().map(({ dst }) => dst);
  assert.deepEqual(
    networks.filter((network) => !table.includes(network)),
    [],
  );
  assert.ok(client.log.lines.filter((line) => line.includes('PUSH_REPLY')).length > 1);
});

test('[C54] [C119] a full tunnel takes everything, and no IPv6 leaves beside it', { skip }, async (t) => {
  const world = await World.create(t, {
    manifests: {
      'all.yaml': yamlOf(endpoint({ splitTunnel: false }), targetNetwork(), route('0.0.0.0/0'), rule('0.0.0.0/0')),
    },
  });
  assert.ok(world.lab.client().ping(INTERNET_IPV6), 'the lab lets IPv6 out as long as there is no tunnel');
  const client = await world.connect();
  assert.equal(client.deviceTo(TARGETS.internet), 'tun0');
  assert.equal(client.deviceTo(GATEWAY_ADDRESS), 'wan0');
  assert.ok(await world.agent().reaches(TARGETS.internet));
  assert.equal(client.namespace.ping(INTERNET_IPV6), false);
  const routes = client.routes().map(({ dst }) => dst);
  for (const half of ['0.0.0.0/1', '128.0.0.0/1'])
    assert.ok(routes.includes(half), `${half} among ${routes.join(' ')}`);
  await client.stop();
  assert.ok(world.lab.client().ping(INTERNET_IPV6), 'the client put its routes back');
});

test('[C116] a full tunnel that blocks the local network takes it too', { skip }, async (t) => {
  const world = await World.create(t, {
    manifests: {
      'all.yaml': yamlOf(
        endpoint({ splitTunnel: false, spec: { blockLocal: true } }),
        targetNetwork(),
        route('0.0.0.0/0'),
        rule('0.0.0.0/0'),
      ),
    },
  });
  const client = await world.connect();
  await client.log.waitFor(/redirect-gateway def1[^,]* block-local/);
  assert.equal(client.deviceTo('10.99.0.77'), 'tun0');
});

for (const transport of ['udp', 'tcp'] as const) {
  test(`[C117] packets up to the tunnel’s size pass over ${transport}, in both directions`, { skip }, async (t) => {
    const world = await World.create(t, {
      manifests: { 'all.yaml': yamlOf(endpoint({ transport }), targetNetwork(), rule('192.168.0.0/24')) },
    });
    const client = await world.connect();
    for (const packetBytes of [1480, 1500]) {
      const payloadBytes = packetBytes - 28;
      assert.ok(
        client.namespace.ping(TARGETS.vpc, { payloadBytes, mayFragment: false }),
        `ping of ${packetBytes} bytes`,
      );
      assert.ok(await world.agent().echo(TARGETS.vpc, payloadBytes), `UDP packet of ${packetBytes} bytes`);
    }
    assert.ok(client.namespace.ping(TARGETS.vpc, { payloadBytes: 3000 }), 'a fragmented ping');
  });
}

test('[C47] [C48] two clients talk where a local route and a rule say so', { skip }, async (t) => {
  const base = [endpoint(), targetNetwork(), rule('192.168.0.0/24')];
  const both = [route('10.200.0.0/22', { local: true }), rule('10.200.0.0/22')];
  const world = await World.create(t, { clients: 2, manifests: { 'all.yaml': yamlOf(...base, ...both) } });
  const [first, second] = [await world.connect({ index: 0 }), await world.connect({ index: 1 })];
  const agent = world.agent(0);
  await world.agent(1).serve([second.tunnelAddress()]);

  assert.ok(first.namespace.ping(second.tunnelAddress()));
  assert.ok(second.namespace.ping(first.tunnelAddress()));
  assert.equal((await agent.fetch(second.tunnelAddress())).seenAs, first.tunnelAddress(), 'not translated');

  for (const { without, left } of [
    { without: 'route', left: both[1] },
    { without: 'rule', left: both[0] },
  ]) {
    await world.gateway.apply('all.yaml', yamlOf(...base, ...(left === undefined ? [] : [left])));
    assert.equal(await agent.reaches(second.tunnelAddress()), false, `without the ${without}`);
  }
});

test('a client cannot reach the gateway’s own addresses, its tunnel address by ping apart', { skip }, async (t) => {
  const world = await World.create(t, {
    manifests: {
      'all.yaml': yamlOf(endpoint({ splitTunnel: false }), targetNetwork(), route('0.0.0.0/0'), rule('0.0.0.0/0')),
    },
  });
  const client = await world.connect();
  assert.ok(client.namespace.ping('10.200.0.1'));
  for (const address of ['10.60.0.1', '169.254.169.254', '127.0.0.2', '224.0.0.251']) {
    assert.equal(
      client.namespace.run('ping', '-n', '-c', '1', '-W', '1', '-I', 'tun0', address).status === 0,
      false,
      address,
    );
  }
});

test('[C14] [C13] DNS servers and the banner reach the client', { skip }, async (t) => {
  const spec = {
    dnsServers: ['10.0.0.53', '10.0.1.53'],
    clientLoginBanner: { enabled: true, text: 'Authorised staff only.' },
  };
  const world = await World.create(t, {
    manifests: { 'all.yaml': yamlOf(endpoint({ spec }), targetNetwork(), rule('192.168.0.0/24')) },
  });
  const client = await world.connect();
  await client.log.waitFor(/dhcp-option DNS 10\.0\.0\.53,dhcp-option DNS 10\.0\.1\.53/);
});
