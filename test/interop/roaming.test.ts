import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { waitForProgress } from '../support/flows.ts';
import { endpoint, rule, targetNetwork, yamlOf } from '../support/manifests.ts';
import { TARGETS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();
const QUICK_PINGS = { pingMs: 1000, pingRestartMs: 4000 };

function manifests(transport: 'udp' | 'tcp') {
  return { 'all.yaml': yamlOf(endpoint({ transport }), targetNetwork(), rule('192.168.0.0/24')) };
}

// Nearly all of their time is waiting for one side to notice: two at once.
describe('roaming', { concurrency: 2 }, () => {
  test('[P12] a client whose address changes keeps its session and its flows', { skip }, async (t) => {
    const world = await World.create(t);
    const client = await world.connect();
    const agent = world.agent();
    const download = await agent.download(TARGETS.vpc);
    const before = world.gateway.connections()[0];

    world.lab
      .client()
      .ip('addr del 10.99.0.11/24 dev wan0', 'addr add 10.99.0.99/24 dev wan0', 'route add default via 10.99.0.254');
    // The gateway learns the new address from the next packet that the client sends.
    await waitFor('an answer at the new address', () => agent.reaches(TARGETS.vpc));
    await waitForProgress(download, 20_000);
    const after = await waitFor('the new address in the list', () => {
      const [connection] = world.gateway.connections();
      return connection?.remote.startsWith('10.99.0.99:') ? connection : undefined;
    });
    assert.equal(after.connectionId, before?.connectionId);
    assert.equal(client.keyExchanges(), 1, 'no new handshake was needed');
  });

  for (const transport of ['udp', 'tcp'] as const) {
    test(`[P29] a client killed and started again over ${transport} gets its address back`, { skip }, async (t) => {
      const world = await World.create(t, { manifests: manifests(transport), timers: QUICK_PINGS });
      // A fixed source port makes the second start look like the first over UDP.
      const port = transport === 'udp' ? 'lport 40000' : 'nobind';
      const profile = world.gateway.clientConfig({ client: 'alice' }).replace(/^nobind$/m, port);
      const first = await world.connect({ profile });
      const address = first.tunnelAddress();
      first.signal('SIGKILL');
      await first.exited();
      const second = await world.connect({ profile });
      assert.ok(await world.agent().reaches(TARGETS.vpc));
      await waitFor(
        'the dead session to end',
        () => world.gateway.connections().filter((c) => c.status === 'active').length === 1,
      );
      if (transport === 'udp') assert.equal(second.tunnelAddress(), address);
    });

    test(`[P95] a client that vanishes over ${transport} is given up after the ping timeout`, { skip }, async (t) => {
      const world = await World.create(t, { manifests: manifests(transport), timers: QUICK_PINGS });
      await world.connect();
      // Pulling the cable: not even a reset leaves.
      world.lab.client().ip('link set wan0 down');
      const ended = await waitFor(
        'the end',
        () => world.gateway.connections().find((c) => c.status === 'terminated'),
        20_000,
      );
      assert.equal(ended.endReason, 'keepalive-lost');
    });

    test(`a gateway killed and started again over ${transport} gets its clients back`, { skip }, async (t) => {
      const world = await World.create(t, { manifests: manifests(transport), timers: QUICK_PINGS });
      const client = await world.connect();
      const address = client.tunnelAddress();
      const mark = client.log.mark();
      world.gateway.signal('SIGKILL');
      await world.gateway.exited();
      await world.gateway.start();
      await client.connected({ from: mark, timeoutMs: 40_000 });
      assert.ok(await world.agent().reaches(TARGETS.vpc));
      assert.equal(client.tunnelAddress(), address, 'leases survive in the state folder');
    });

    test(`[P83] [P69] a client that ends by itself over ${transport} is gone at once`, { skip }, async (t) => {
      const world = await World.create(t, { manifests: manifests(transport) });
      const client = await world.connect();
      await client.stop();
      const ended = await waitFor(
        'the end',
        () => world.gateway.connections().find((c) => c.status === 'terminated'),
        8000,
      );
      // Over TCP the stock client sends no exit message: it hangs up.
      assert.equal(ended.endReason, transport === 'udp' ? 'client-exit' : 'transport-closed');
    });

    test(`[P87] a gateway that stops tells its clients over ${transport} to come back`, { skip }, async (t) => {
      const world = await World.create(t, { manifests: manifests(transport) });
      const client = await world.connect();
      const mark = client.log.mark();
      assert.equal(await world.gateway.stop(), 0);
      await client.log.waitFor(/server-pushed-connection-reset|Server requested restart|Connection reset/i, {
        from: mark,
      });
      await world.gateway.start();
      await client.connected({ from: mark, timeoutMs: 30_000 });
    });
  }
});
