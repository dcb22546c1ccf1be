import assert from 'node:assert/strict';
import { closeSync, constants, openSync } from 'node:fs';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { dataPlaneOf, gatewayProcesses, isRunning } from '../support/gateway-processes.ts';
import { machineState } from '../support/machine-state.ts';
import { DEFAULT_MANIFESTS, World } from '../support/world.ts';
import { endpoint, rule, targetNetwork, users, yamlOf } from '../support/manifests.ts';
import { TARGETS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { waitFor } from '../support/wait.ts';

const skip = skipWithoutNamespaces();
/** Within this SIGTERM has to be obeyed. */
const STOP_LIMIT_MS = 5_000;
const SHORT = { pingMs: 1_000, pingRestartMs: 4_000 };

test('SIGTERM is obeyed at each step of the start, and everything is undone', { skip }, async (t) => {
  const world = await World.create(t, { started: false });
  const namespace = world.lab.gateway;
  const before = machineState(namespace);
  const steps: Readonly<Record<string, () => boolean>> = {
    'the process is there': () => world.gateway.pid !== undefined,
    'the TUN device is there': () => namespace.must('ip', '-o', 'link', 'show').includes('cvpn-'),
    'the rules are there': () => namespace.must('nft', 'list', 'tables').includes('cvpn'),
    'the data plane is there': () => dataPlaneOf(world.gateway.pid ?? 0) !== undefined,
    'the data plane has started': () => world.gateway.log.lines.some((line) => line.includes('Started data plane')),
  };
  for (const [step, isReached] of Object.entries(steps)) {
    await t.test(step, async () => {
      world.gateway.log.lines.length = 0;
      world.gateway.spawn();
      await waitFor(step, isReached);
      world.gateway.signal('SIGTERM');
      const status = await world.gateway.exited(STOP_LIMIT_MS);
      // Before the process has a handler, the signal itself ends it: there is nothing to undo yet.
      if (step !== 'the process is there') assert.equal(status, 0);
      assert.deepEqual(machineState(namespace), before);
    });
  }
});

for (const { phase, timers } of [
  { phase: 'a login', timers: {} },
  { phase: 'a renewal', timers: { renegotiateMs: 1_500 } },
  { phase: 'the restart of the data plane', timers: {} },
]) {
  test(`SIGTERM during ${phase}: exit 0, RESTART to the clients, everything undone`, { skip }, async (t) => {
    const world = await World.create(t, { started: false, timers, clients: 2 });
    const namespace = world.lab.gateway;
    const before = machineState(namespace);
    await world.gateway.start();
    const client = await world.connect();
    const from = client.log.mark();
    if (phase === 'a login') await world.client({ index: 1 }).log.waitFor(/TLS: Initial packet from/);
    else if (phase === 'a renewal') await client.log.waitFor(/VERIFY OK: depth=0/, { from });
    else process.kill((await gatewayProcesses(world.gateway)).child, 'SIGKILL');
    world.gateway.signal('SIGTERM');
    assert.equal(await world.gateway.exited(STOP_LIMIT_MS), 0);
    if (phase !== 'the restart of the data plane')
      await client.log.waitFor(/Connection reset command was pushed by server/, { from });
    assert.deepEqual(machineState(namespace), before);
  });
}

test('a client that never acknowledges holds up no SIGTERM', { skip }, async (t) => {
  const world = await World.create(t, { started: false });
  const before = machineState(world.lab.gateway);
  await world.gateway.start();
  const client = await world.connect();
  client.signal('SIGSTOP');
  world.gateway.signal('SIGTERM');
  assert.equal(await world.gateway.exited(STOP_LIMIT_MS), 0);
  assert.deepEqual(machineState(world.lab.gateway), before);
});

for (const { when, withEdit } of [
  { when: 'it was idle', withEdit: false },
  { when: 'an edit was on its way to it', withEdit: true },
]) {
  test(
    `a data plane that stood still while ${when} is killed, and the gateway still ends with 0`,
    { skip },
    async (t) => {
      const world = await World.create(t, { started: false, options: ['--log-level', 'debug'] });
      const before = machineState(world.lab.gateway);
      await world.gateway.start();
      const { child } = await gatewayProcesses(world.gateway);
      process.kill(child, 'SIGSTOP');
      if (withEdit) {
        world.gateway.write('rules.yaml', yamlOf(rule('192.168.0.0/25')));
        await world.gateway.log.waitFor(/Read an edit that is valid/);
      }
      world.gateway.signal('SIGTERM');
      assert.equal(await world.gateway.exited(STOP_LIMIT_MS), 0);
      assert.equal(isRunning(child), false);
      assert.deepEqual(machineState(world.lab.gateway), before);
    },
  );
}

// Nearly all of their time is standing still: two at once.
describe('processes that stand still', { concurrency: 2 }, () => {
  for (const transport of ['udp', 'tcp'] as const) {
    for (const { howLong, stillMs, timers, options } of [
      { howLong: '30 s', stillMs: 30_000, timers: {}, options: [] },
      {
        howLong: 'longer than the keepalive',
        stillMs: 6_000,
        timers: { pingMs: 500, pingRestartMs: 1_500 },
        // The clients' own patience is longer: what is tested is ours.
        options: ['--pull-filter', 'ignore', 'ping-restart', '--ping-restart', '60'],
      },
    ]) {
      test(`a data plane that stood still for ${howLong} loses nobody over ${transport}`, { skip }, async (t) => {
        const world = await worldOver(t, transport, timers);
        const client = await world.connect({ options });
        const { child } = await gatewayProcesses(world.gateway);
        const [before] = world.gateway.connections();
        process.kill(child, 'SIGSTOP');
        await sleep(stillMs);
        process.kill(child, 'SIGCONT');
        await waitFor('the target', () => world.lab.client().ping(TARGETS.vpc));
        await sleep(2_000);
        const active = world.gateway.connections().filter(({ status }) => status === 'active');
        assert.deepEqual(
          active.map(({ connectionId }) => connectionId),
          [before?.connectionId],
        );
        assert.equal(client.keyExchanges(), 1);
      });
    }
  }

  test('clients that gave up while the data plane stood still come back', { skip }, async (t) => {
    const world = await worldOver(t, 'udp', SHORT);
    const client = await world.connect();
    const { child } = await gatewayProcesses(world.gateway);
    const from = client.log.mark();
    process.kill(child, 'SIGSTOP');
    await client.log.waitFor(/Inactivity timeout/, { from });
    process.kill(child, 'SIGCONT');
    await client.connected({ from });
    await waitFor('the target', () => world.lab.client().ping(TARGETS.vpc));
  });

  test('the tunnel goes on while the parent stands still: traffic, a renewal, a new client', { skip }, async (t) => {
    const world = await World.create(t, { clients: 2, timers: { ...SHORT, renegotiateMs: 3_000 } });
    const profile = world.gateway.clientConfig({ client: 'late' });
    const first = await world.connect();
    const { parent } = await gatewayProcesses(world.gateway);
    process.kill(parent, 'SIGSTOP');
    try {
      const from = first.keyExchanges();
      await world.client({ index: 1, profile }).connected();
      assert.ok(world.lab.client(1).ping(TARGETS.vpc));
      await waitFor('a renewal', () => first.keyExchanges() > from);
      assert.ok(world.lab.client(0).ping(TARGETS.vpc));
    } finally {
      process.kill(parent, 'SIGCONT');
    }
    const later = await waitFor(
      'both connections',
      () => world.gateway.connections().filter(({ status }) => status === 'active').length === 2,
    );
    assert.ok(later);
    assert.equal(await world.gateway.stop(), 0);
  });

  for (const output of ['pipe', 'terminal'] as const) {
    test(`a reader of the log that stops reading a ${output} stops nothing`, { skip, timeout: 90_000 }, async (t) => {
      const world = await World.create(t, {
        started: false,
        manifests: {
          ...DEFAULT_MANIFESTS,
          'endpoint.yaml': yamlOf(
            endpoint({ local: 'staff' }),
            targetNetwork(),
            ...users('staff', [{ name: 'alice', password: 'correct' }]),
          ),
        },
      });
      const before = machineState(world.lab.gateway);
      const unread = startUnread(world, output);
      t.after(() => unread.kill('SIGKILL'));
      await waitFor('the gateway', () => isServing(world), 20_000);
      const credentials = { username: 'alice', password: 'correct' };
      const client = await world.connect({ certificate: null, credentials });
      // More than any buffer on the way holds.
      const bad = yamlOf(...Array.from({ length: 500 }, (_, index) => rule(`10.0.${index}.1/8`)));
      for (let round = 1; round <= 4; round += 1) {
        world.gateway.write('rules.yaml', bad);
        await waitFor('the refusal', () => refusalOf(world) !== null);
        world.gateway.write('rules.yaml', yamlOf(rule('192.168.0.0/24')));
        await waitFor('the good state', () => refusalOf(world) === null);
      }
      assert.ok(world.lab.client().ping(TARGETS.vpc));
      const from = client.log.mark();
      client.signal('SIGUSR1');
      await client.connected({ from });
      const pid = gatewayPid(world);
      process.kill(pid, 'SIGTERM');
      await waitFor('the gateway to end', () => !isRunning(pid));
      // The program that holds the terminal waits for its reader.
      if (output === 'pipe') await waitFor('exit 0', () => unread.exitCode === 0);
      assert.deepEqual(machineState(world.lab.gateway), before);
    });
  }
});

/** Starts the world's gateway with its log going where nobody reads it. */
function startUnread(world: World, output: 'pipe' | 'terminal'): ChildProcess {
  const path = join(world.lab.folder, 'unread');
  execFileSync('mkfifo', [path]);
  // Held open at both ends by this process, which never reads.
  const fifo = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  const command = world.gateway.commandLine();
  const inside = ['netns', 'exec', world.lab.gateway.name];
  const child =
    output === 'pipe'
      ? spawn('ip', [...inside, ...command], { stdio: ['ignore', fifo, fifo], cwd: '/' })
      : spawn('script', ['--quiet', '--return', '--command', ['ip', ...inside, ...command].join(' '), '/dev/null'], {
          stdio: ['ignore', fifo, fifo],
          cwd: '/',
        });
  child.on('exit', () => closeSync(fifo));
  return child;
}

/** The holder of the state folder's lock. */
function gatewayPid(world: World): number {
  return Number(execFileSync('cat', [join(world.gateway.stateDir, 'lock')], { encoding: 'utf8' }));
}

function isServing(world: World): boolean {
  try {
    return world.gateway.status().state === 'Ready';
  } catch {
    return false;
  }
}

function refusalOf(world: World): unknown {
  return world.gateway.status().refused;
}

function worldOver(t: TestContext, transport: 'udp' | 'tcp', timers: object): Promise<World> {
  return World.create(t, {
    manifests: { 'all.yaml': yamlOf(endpoint({ transport }), targetNetwork(), rule('192.168.0.0/24')) },
    timers,
  });
}
