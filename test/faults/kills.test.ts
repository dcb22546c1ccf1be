import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { dataPlaneScript } from '../support/data-plane-script.ts';
import { gatewayProcesses, isRunning } from '../support/gateway-processes.ts';
import { machineState, machineStateWithoutNumbers } from '../support/machine-state.ts';
import { endpoint, rule, targetNetwork, yamlOf } from '../support/manifests.ts';
import { TARGETS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import type { StockClient } from '../support/stock-client.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();
const PING_RESTART_MS = 5_000;
/**
 * How long a client that waits for an answer waits, and how much longer with each try, is its own affair: nobody can
 * tell one over UDP, before it has keys, that its server is gone.
 */
const IMPATIENCE = ['--connect-retry', '1', '1', '--connect-timeout', '2', '--hand-window', '4', '--tls-timeout', '1'];
/** From the kill on. A login that hears no more is given up in 4 s, one that waits for what is pushed in 10 s. */
const BACK_WITHIN_MS = { tcp: 10_000, udp: PING_RESTART_MS + 5_000 } as const;
const LOGIN_BACK_WITHIN_MS = { tcp: 10_000, udp: 20_000 } as const;
const VICTIMS = ['data plane', 'parent', 'both'] as const;
type Victim = (typeof VICTIMS)[number];

// Half of their time is waiting for a client over UDP to notice: two at once.
describe('kill -9', { concurrency: 2 }, () => {
  for (const transport of ['udp', 'tcp'] as const) {
    test(
      `a client over ${transport} is back after kill -9, and nothing is left behind or doubled`,
      { skip },
      async (t) => {
        const world = await worldOver(t, transport);
        const gateway = world.lab.gateway;
        const before = machineState(gateway);
        await world.gateway.start();
        const serving = machineStateWithoutNumbers(gateway);
        const client = await world.connect({ options: IMPATIENCE });
        for (const victim of VICTIMS) {
          await t.test(`while serving: ${victim}`, async () => {
            await killAndReturn(world, victim, client, BACK_WITHIN_MS[transport]);
            assert.deepEqual(machineStateWithoutNumbers(gateway), serving);
          });
          await t.test(`while a client logs in: ${victim}`, async () => {
            const from = client.log.mark();
            client.signal('SIGUSR1');
            await client.log.waitFor(/TLS: Initial packet from/, { from });
            await killAndReturn(world, victim, client, LOGIN_BACK_WITHIN_MS[transport]);
            assert.deepEqual(machineStateWithoutNumbers(gateway), serving);
          });
          await t.test(`during a renewal: ${victim}`, async () => {
            const from = client.log.mark();
            await client.log.waitFor(/VERIFY OK: depth=0/, { from });
            await killAndReturn(world, victim, client, BACK_WITHIN_MS[transport]);
            assert.deepEqual(machineStateWithoutNumbers(gateway), serving);
          });
        }
        assert.equal(await world.gateway.stop(), 0);
        assert.deepEqual(machineState(gateway), before);
      },
    );
  }

  test(
    'kill -9 at each step of the start leaves nothing that the next start does not clear up',
    { skip },
    async (t) => {
      const world = await worldOver(t, 'udp');
      const namespace = world.lab.gateway;
      const before = machineState(namespace);
      const steps: Readonly<Record<string, () => boolean>> = {
        'the TUN device is there': () => namespace.must('ip', '-o', 'link', 'show').includes('cvpn-'),
        'the rules are there': () => namespace.must('nft', 'list', 'tables').includes('cvpn'),
        'the TUN device is up': () => / cvpn-\w+: <[^>]*\bUP\b/.test(namespace.must('ip', '-o', 'link', 'show')),
        'the data plane has been started': () =>
          world.gateway.log.lines.some((line) => line.includes('Started data plane')),
      };
      for (const [step, isReached] of Object.entries(steps)) {
        await t.test(step, async () => {
          world.gateway.log.lines.length = 0;
          world.gateway.spawn();
          await waitFor(step, isReached);
          const orphan = world.gateway.pid === undefined ? undefined : (await gatewayProcesses(world.gateway)).child;
          world.gateway.signal('SIGKILL');
          await world.gateway.exited();
          await world.gateway.start();
          assert.equal(orphan !== undefined && isRunning(orphan), false, 'the data plane of the killed run has gone');
          assert.equal(await world.gateway.stop(), 0);
          assert.deepEqual(machineState(namespace), before);
        });
      }
    },
  );

  for (const victim of VICTIMS) {
    test(`kill -9 while stopping: ${victim}`, { skip }, async (t) => {
      const world = await worldOver(t, 'udp');
      const namespace = world.lab.gateway;
      const before = machineState(namespace);
      await world.gateway.start();
      await world.connect();
      const { parent, child } = await gatewayProcesses(world.gateway);
      const from = world.gateway.log.mark();
      world.gateway.signal('SIGTERM');
      await world.gateway.log.waitFor(/"msg":"Stopping"/, { from });
      kill(victim, parent, child);
      await world.gateway.exited();
      await waitFor('the data plane to be gone', () => !isRunning(child));
      await world.gateway.start();
      assert.equal(await world.gateway.stop(), 0);
      assert.deepEqual(machineState(namespace), before);
    });
  }

  test('a data plane without its parent says goodbye to the clients and ends', { skip }, async (t) => {
    const world = await worldOver(t, 'udp');
    await world.gateway.start();
    const client = await world.connect();
    const { child } = await gatewayProcesses(world.gateway);
    const from = client.log.mark();
    world.gateway.signal('SIGKILL');
    await client.log.waitFor(/Connection reset command was pushed by server/, { from });
    await waitFor('the data plane to end', () => !isRunning(child), 5_000);
    await world.gateway.log.waitFor(/"cause":"the supervisor is gone"/);
  });

  test('a data plane that crashes says why in the log of its parent', { skip }, async (t) => {
    const environment = dataPlaneScript(`setImmediate(() => { throw new RangeError('planted fault') })`);
    const world = await World.create(t, { environment });
    const from = world.gateway.log.mark();
    process.kill((await gatewayProcesses(world.gateway)).child, 'SIGUSR2');
    await world.gateway.log.waitFor(/"cause":"planted fault".*will be restarted/, { from });
    await world.gateway.log.waitFor(/The data plane is back/, { from });
  });

  test('a data plane that keeps dying is restarted at growing intervals', { skip }, async (t) => {
    const world = await worldOver(t, 'udp');
    await world.gateway.start();
    const from = world.gateway.log.mark();
    for (let count = 0; count < 4; count += 1) {
      const { child } = await gatewayProcesses(world.gateway);
      process.kill(child, 'SIGKILL');
      await waitFor('the data plane to be gone', () => !isRunning(child));
    }
    await gatewayProcesses(world.gateway);
    const waits = (): readonly number[] =>
      world.gateway.log.lines
        .slice(from)
        .filter((line) => line.includes('will be restarted'))
        .map((line) => (JSON.parse(line) as { nextTryMs: number }).nextTryMs);
    await waitFor('four restarts to be logged', () => waits().length >= 4);
    assert.deepEqual(waits(), [250, 500, 1000, 2000]);
    await world.connect();
  });
});

function worldOver(t: TestContext, transport: 'udp' | 'tcp'): Promise<World> {
  return World.create(t, {
    started: false,
    manifests: { 'all.yaml': yamlOf(endpoint({ transport }), targetNetwork(), rule('192.168.0.0/24')) },
    timers: { pingMs: 1_000, pingRestartMs: PING_RESTART_MS, renegotiateMs: 3_000 },
  });
}

async function killAndReturn(world: World, victim: Victim, client: StockClient, withinMs: number): Promise<void> {
  const { parent, child } = await gatewayProcesses(world.gateway);
  const from = client.log.mark();
  const killed = performance.now();
  kill(victim, parent, child);
  if (victim !== 'data plane') {
    await world.gateway.exited();
    await world.gateway.start();
  }
  await client.connected({ from, timeoutMs: withinMs - (performance.now() - killed) });
  await waitFor('the target through the tunnel', () => world.lab.client().ping(TARGETS.vpc));
}

function kill(victim: Victim, parent: number, child: number): void {
  if (victim !== 'parent') process.kill(child, 'SIGKILL');
  if (victim !== 'data plane') process.kill(parent, 'SIGKILL');
}
