import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ControlWrapKind } from '../../api/endpoint-snapshot.ts';
import { endpoint, rule, targetNetwork, yamlOf } from '../support/manifests.ts';
import { TARGETS, TRANSLATED_ADDRESS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();

for (const controlWrap of ['None', 'TlsAuth', 'TlsCrypt', 'TlsCryptV2'] satisfies readonly ControlWrapKind[]) {
  for (const transport of ['udp', 'tcp'] as const) {
    test(`[P103] a stock client connects over ${transport} with control wrap ${controlWrap}`, { skip }, async (t) => {
      const world = await World.create(t, {
        manifests: {
          'all.yaml': yamlOf(
            endpoint({ transport, controlWrap, port: transport === 'udp' ? 1194 : 443 }),
            targetNetwork(),
            rule('192.168.0.0/24'),
          ),
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
