import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { endpoint, rule, targetNetwork, yamlOf } from '../support/manifests.ts';
import { TARGETS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();

for (const transport of ['udp', 'tcp'] as const) {
  test(`traffic over ${transport} goes on while the control thread is blocked for two seconds`, { skip }, async (t) => {
    const world = await World.create(t, {
      manifests: { 'all.yaml': yamlOf(endpoint({ transport }), targetNetwork(), rule('192.168.0.0/24')) },
    });
    await world.connect();
    const agent = world.agent();
    const stream = await agent.sendStream(TARGETS.vpc, 50);
    const blocked = blockControlThread(world, 2000);
    await blocked;
    await stream.stop();
    await sleep(200);
    const sent = (await stream.state()).packets;
    const arrived = Object.values(await world.target.sunk())[0] ?? 0;
    assert.ok(sent >= 80, `${sent} packets were sent meanwhile`);
    assert.equal(arrived, sent);
  });
}

/** Blocks the data plane's main thread through Node's inspector, as nothing in the product would let us. */
async function blockControlThread(world: World, milliseconds: number): Promise<void> {
  const program = fileURLToPath(new URL('../support/block-main-thread.ts', import.meta.url));
  const pids = world.lab.gateway.must('ip', 'netns', 'pids', world.lab.gateway.name).trim().split('\n');
  const child = world.lab.gateway.spawn(process.execPath, [program, String(milliseconds), ...pids], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const status = await new Promise((resolve) => child.on('exit', resolve));
  assert.equal(status, 0, 'the control thread could be blocked');
}
