import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { dataPlaneScript } from '../support/data-plane-script.ts';
import { gatewayProcesses } from '../support/gateway-processes.ts';
import { endpoint, rule, targetNetwork, yamlOf } from '../support/manifests.ts';
import { TARGETS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();
/** As nothing in the product would let us. */
const BLOCK = `
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2_000);
  process.stderr.write('It was blocked\\n');`;

for (const transport of ['udp', 'tcp'] as const) {
  test(`traffic over ${transport} goes on while the control thread is blocked for two seconds`, { skip }, async (t) => {
    const world = await World.create(t, {
      environment: dataPlaneScript(BLOCK),
      manifests: { 'all.yaml': yamlOf(endpoint({ transport }), targetNetwork(), rule('192.168.0.0/24')) },
    });
    await world.connect();
    const agent = world.agent();
    const stream = await agent.sendStream(TARGETS.vpc, 50);
    process.kill((await gatewayProcesses(world.gateway)).child, 'SIGUSR2');
    await world.gateway.log.waitFor(/It was blocked/);
    await stream.stop();
    await sleep(200);
    const sent = (await stream.state()).packets;
    const arrived = Object.values(await world.target.sunk())[0] ?? 0;
    assert.ok(sent >= 80, `${sent} packets were sent meanwhile`);
    assert.equal(arrived, sent);
  });
}
