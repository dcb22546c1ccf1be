import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ControlWrapKind } from '../../api/endpoint-snapshot.ts';
import { endpoint, rule, targetNetwork, yamlOf } from '../support/manifests.ts';
import { GATEWAY_ADDRESS, GATEWAY_IPV6, TARGETS, TRANSLATED_ADDRESS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();

const WRAPS = ['None', 'TlsAuth', 'TlsCrypt', 'TlsCryptV2'] satisfies readonly ControlWrapKind[];

for (const [index, controlWrap] of WRAPS.entries()) {
  for (const transport of ['udp', 'tcp'] as const) {
    // Both ports with both transports.
    const port = (index % 2 === 0) === (transport === 'udp') ? 1194 : 443;
    const what = `${transport} on port ${port} with control wrap ${controlWrap}`;
    test(`[P103] a stock client connects over ${what}`, { skip }, async (t) => {
      const world = await World.create(t, {
        manifests: {
          'all.yaml': yamlOf(endpoint({ transport, controlWrap, port }), targetNetwork(), rule('192.168.0.0/24')),
        },
      });
      const client = await world.connect({ certificate: 'alice' });
      const agent = world.agent();

      assert.equal((await agent.fetch(TARGETS.vpc)).seenAs, TRANSLATED_ADDRESS);
      assert.ok(client.namespace.ping(TARGETS.vpc));
      assert.ok(await agent.echo(TARGETS.vpc, 1000));

      const [connection] = world.gateway.connections();
      assert.equal(connection?.status, 'active');
      assert.equal(connection.commonName, 'alice');
      assert.equal(connection.clientIp, client.tunnelAddress());
      assert.equal(connection.transport, transport);

      await client.stop();
      const ended = await waitFor('the end of the connection', () =>
        world.gateway.connections().find((c) => c.status === 'terminated'),
      );
      assert.equal(ended.connectionId, connection.connectionId);
      assert.notEqual(ended.endTime, null);
    });
  }
}

for (const transport of ['udp', 'tcp'] as const)
  test(
    `a stock client reaches the gateway over IPv6 by ${transport}, and packets of full size pass`,
    { skip },
    async (t) => {
      const world = await World.create(t, {
        manifests: { 'all.yaml': yamlOf(endpoint({ transport }), targetNetwork(), rule('192.168.0.0/24')) },
      });
      const profile = world.gateway.clientConfig({ client: 'alice' }).replace(GATEWAY_ADDRESS, GATEWAY_IPV6);
      const client = await world.connect({ profile });
      assert.match(world.gateway.connections()[0]?.remote ?? '', /^\[fd99::11\]:\d+$/);
      assert.ok(await world.agent().reaches(TARGETS.vpc));
      assert.ok(client.namespace.ping(TARGETS.vpc, { payloadBytes: 1472, mayFragment: false }));
      assert.ok(await world.agent().echo(TARGETS.vpc, 1472));
    },
  );
