import assert from 'node:assert/strict';
import { mkdtempDisposableSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { gatewayProcesses } from '../support/gateway-processes.ts';
import { machineState, machineStateWithoutNumbers } from '../support/machine-state.ts';
import { endpoint, rule, targetNetwork, yamlOf } from '../support/manifests.ts';
import { TARGETS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();

for (const transport of ['udp', 'tcp'] as const) {
  test(`what is done to the TUN device is mended, over ${transport}`, { skip }, async (t) => {
    const world = await World.create(t, {
      started: false,
      manifests: { 'all.yaml': yamlOf(endpoint({ transport }), targetNetwork(), rule('192.168.0.0/24')) },
      timers: { pingMs: 1_000, pingRestartMs: 5_000 },
    });
    const namespace = world.lab.gateway;
    const before = machineState(namespace);
    await world.gateway.start();
    const serving = machineStateWithoutNumbers(namespace);
    const client = await world.connect({ options: ['--connect-retry', '1', '1', '--connect-timeout', '2'] });
    const isReached = (): boolean => world.lab.client().ping(TARGETS.vpc);
    const tun = /(cvpn-[0-9a-f]+)/.exec(serving['links'] ?? '')?.[1] ?? '';

    for (const { what, command, message } of [
      { what: 'taken down', command: `link set ${tun} down`, message: /Mended the TUN device/ },
      { what: 'without its address', command: `addr flush dev ${tun}`, message: /Mended the TUN device/ },
    ]) {
      await t.test(what, async () => {
        const from = world.gateway.log.mark();
        namespace.ip(command);
        await world.gateway.log.waitFor(message, { from });
        await waitFor('the target', isReached);
        assert.deepEqual(machineStateWithoutNumbers(namespace), serving);
        assert.equal(active(world), 1);
      });
    }

    await t.test('down and up again at once', async () => {
      namespace.ip(`link set ${tun} down`, `link set ${tun} up`);
      await waitFor('the target', isReached);
      assert.equal(active(world), 1);
    });

    await t.test('removed', async () => {
      const from = world.gateway.log.mark();
      const clientFrom = client.log.mark();
      namespace.ip(`link delete ${tun}`);
      await world.gateway.log.waitFor(/The TUN device was removed; making it again/, { from });
      await waitFor('status to say that it restarts', () => world.gateway.status().state === 'Restarting');
      await waitFor('status to say that it is ready', () => world.gateway.status().state === 'Ready');
      assert.deepEqual(machineStateWithoutNumbers(namespace), serving);
      await client.connected({ from: clientFrom });
      await waitFor('the target', isReached);
    });

    assert.equal(await world.gateway.stop(), 0);
    assert.deepEqual(machineState(namespace), before);
  });
}

test('a removed TUN device is made again, even if it can not be at once', { skip }, async (t) => {
  const programs = mkdtempDisposableSync(join(tmpdir(), 'cvpn-nft-'));
  t.after(() => programs.remove());
  const refusal = join(programs.path, 'refuses');
  // Finds the real one behind it.
  const nft = `#!/bin/sh\n[ ! -e '${refusal}' ] || exit 1\nPATH="\${PATH#*:}" exec nft "$@"\n`;
  writeFileSync(join(programs.path, 'nft'), nft, { mode: 0o755 });
  const environment = { PATH: `${programs.path}:${process.env['PATH']}` };
  const world = await World.create(t, { started: false, environment });
  const { gateway, lab } = world;
  const before = machineState(lab.gateway);
  await gateway.start();
  const { child } = await gatewayProcesses(gateway);
  const tun = lab.gateway.must('ip', '-o', 'link', 'show', 'type', 'tun').split(': ')[1] ?? '';

  // A data plane that stands still does not notice before its parent does.
  process.kill(child, 'SIGSTOP');
  writeFileSync(refusal, '');
  const from = gateway.log.mark();
  lab.gateway.ip(`link delete ${tun}`);
  await gateway.log.waitFor(/The TUN device was removed; making it again/, { from });
  await gateway.log.waitFor(/could not be opened anew: nft failed/, { from });
  rmSync(refusal);
  await gateway.log.waitFor(/The data plane is back/, { from });
  await world.connect();
  assert.ok(lab.client().ping(TARGETS.vpc));
  assert.equal(await gateway.stop(), 0);
  assert.deepEqual(machineState(lab.gateway), before);
});

test(
  'UDP sockets that an administrator ends go on serving those who are there and those who come',
  { skip },
  async (t) => {
    const world = await World.create(t, { clients: 2 });
    await world.connect();
    const { child } = await gatewayProcesses(world.gateway);
    // Of the two that share the port it is one: for as long as the machine is up, always the same.
    world.lab.gateway.must('ss', '--udp', '--all', '--kill', 'sport', '=', ':1194');
    assert.ok(world.lab.client().ping(TARGETS.vpc));
    await world.connect({ index: 1 });
    assert.ok(world.lab.client(1).ping(TARGETS.vpc));
    assert.equal((await gatewayProcesses(world.gateway)).child, child);
  },
);

test('a TCP listener that an administrator ends ends the data plane by name', { skip }, async (t) => {
  const world = await World.create(t, {
    manifests: { 'all.yaml': yamlOf(endpoint({ transport: 'tcp' }), targetNetwork(), rule('192.168.0.0/24')) },
  });
  const from = world.gateway.log.mark();
  world.lab.gateway.must('ss', '--tcp', '--listening', '--kill', 'sport', '=', ':1194');
  await world.gateway.log.waitFor(/"cause":"Tunnel thread 0 died: The listener was ended from outside"/, { from });
});

test('the outer interface may go down and come back', { skip }, async (t) => {
  const world = await World.create(t);
  await world.connect();
  const { gateway } = world.lab;
  gateway.ip('link set wan0 down');
  assert.equal(world.gateway.status().state, 'Ready');
  // What goes away with an interface is whose routes they are to put back.
  gateway.ip('link set wan0 up', 'route replace 10.99.0.0/24 via 10.98.0.254');
  await waitFor('the target', () => world.lab.client().ping(TARGETS.vpc));
  assert.equal(active(world), 1);
});

function active(world: World): number {
  return world.gateway.connections().filter(({ status }) => status === 'active').length;
}
