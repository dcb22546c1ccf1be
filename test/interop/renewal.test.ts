import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { waitForProgress } from '../support/flows.ts';
import { endpoint, rule, targetNetwork, yamlOf } from '../support/manifests.ts';
import { TARGETS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();

// Nearly all of their time is waiting for the next renewal: two at once.
describe('renewals', { concurrency: 2 }, () => {
  for (const transport of ['udp', 'tcp'] as const) {
    for (const { side, renewals, options, timers } of [
      {
        // Nine wrap the three-bit key id. A client that never renews by itself changes its sending key after hand-window.
        side: 'the server',
        renewals: transport === 'udp' ? 9 : 3,
        options: ['--pull-filter', 'ignore', 'reneg-sec', '--reneg-sec', '0', '--hand-window', '3'],
        timers: { renegotiateMs: 5000 },
      },
      {
        // A client changes its sending key half-way to the next renewal, whether or not the gateway is done by then.
        side: 'the client',
        renewals: 3,
        options: ['--reneg-sec', '6'],
        timers: { clientRenewalPauseMs: 0 },
      },
    ]) {
      test(
        `[P88] [P90] [P91] ${renewals} renewals by ${side} over ${transport} lose no packet of a stream`,
        { skip },
        async (t) => {
          const world = await World.create(t, {
            manifests: { 'all.yaml': yamlOf(endpoint({ transport }), targetNetwork(), rule('192.168.0.0/24')) },
            timers,
          });
          const client = await world.connect({ options });
          const agent = world.agent();
          // Slow enough that no socket overflows while the machine is busy: what is lost, a renewal has lost.
          const download = await agent.download(TARGETS.vpc, 500_000);
          const up = await agent.sendStream(TARGETS.vpc, 50);
          const down = await agent.receiveStream(TARGETS.vpc);

          await waitFor(`${renewals} renewals`, () => client.keyExchanges() > renewals, 90_000);
          await waitForProgress(download);
          await up.stop();
          await download.stop();

          const sent = (await up.state()).packets;
          const arrived = await waitFor('the stream to arrive', async () => {
            const count = Object.values(await world.target.sunk())[0] ?? 0;
            return count >= sent ? count : undefined;
          });
          const { packets, highestNumber } = await down.state();
          assert.deepEqual({ arrived, packets }, { arrived: sent, packets: highestNumber });
          const connections = world.gateway.connections();
          assert.equal(connections.length, 1, 'the connection is still the first one');
        },
      );
    }
  }
});
