// A gateway whose log goes to a terminal, and what becomes of it when that or the program in between goes.
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { commandOf, dataPlaneOf, isRunning } from '../support/gateway-processes.ts';
import { LogLines } from '../support/log-lines.ts';
import { machineState } from '../support/machine-state.ts';
import { rule, yamlOf } from '../support/manifests.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();
/** What the gateway and the script that starts it call, but for `cat`. */
const PROGRAMS = ['nft', 'setpriv', 'flock', 'test', 'sh', 'uname', 'dirname', 'readlink', 'unshare', 'mount'];
const STRAIGHT = /The log goes straight to the terminal/;

test('without cat the log goes straight to the terminal', { skip }, async (t) => {
  const { world, before } = await labOf(t);
  const path = join(world.lab.folder, 'programs');
  mkdirSync(path);
  for (const program of PROGRAMS) {
    const found = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'].map((folder) => join(folder, program)).find(existsSync);
    assert.ok(found !== undefined, program);
    symlinkSync(found, join(path, program));
  }
  const terminal = startOnTerminal(t, world, ['env', `PATH=${path}`]);
  await terminal.log.waitFor(/"msg":"Ready"/);
  assert.match(await terminal.log.waitFor(STRAIGHT), /ENOENT/);
  assert.match(await terminal.log.waitFor(/The log lines of the data plane are lost/), /ENOENT/);
  await assertServes(world);
  assert.equal(await stopped(world, terminal), 0);
  assert.deepEqual(machineState(world.lab.gateway), before);
});

test('a program that holds the terminal and dies costs the gateway nothing', { skip }, async (t) => {
  const { world, before } = await labOf(t);
  const terminal = startOnTerminal(t, world);
  await terminal.log.waitFor(/"msg":"Ready"/);
  process.kill(relayOf(gatewayPid(world)), 'SIGKILL');
  assert.match(await terminal.log.waitFor(STRAIGHT), /SIGKILL/);
  const from = terminal.log.mark();
  await assertServes(world);
  await terminal.log.waitFor(/"msg":"Applied"/, { from });
  await terminal.log.waitFor(/The data plane is back/, { from });
  await terminal.log.waitFor(/Started data plane/, { from });
  assert.equal(await stopped(world, terminal), 0);
  assert.deepEqual(machineState(world.lab.gateway), before);
});

test('a data plane gets hold of nothing that its gateway writes to', { skip }, async (t) => {
  const { world } = await labOf(t);
  const terminal = startOnTerminal(t, world);
  await terminal.log.waitFor(/"msg":"Ready"/);
  await terminal.log.waitFor(/Started data plane/);
  const parent = gatewayPid(world);
  const child = dataPlaneOf(parent);
  assert.ok(child !== undefined);
  const held = new Set(readdirSync(`/proc/${parent}/fd`).map((fd) => readlinkSync(`/proc/${parent}/fd/${fd}`)));
  for (const fd of [1, 2]) {
    const output = readlinkSync(`/proc/${child}/fd/${fd}`);
    assert.match(output, /^socket:/);
    assert.ok(!held.has(output), output);
  }
  assert.equal(await stopped(world, terminal), 0);
});

test('a data plane gets hold of no terminal where only errors go to one', { skip }, async (t) => {
  const { world } = await labOf(t);
  const terminal = startOnTerminal(t, world, [], '> /dev/null');
  const child = await waitFor('a data plane', () =>
    existsSync(join(world.gateway.stateDir, 'lock')) ? dataPlaneOf(gatewayPid(world)) : undefined,
  );
  for (const fd of [0, 1, 2]) assert.equal(readlinkSync(`/proc/${child}/fd/${fd}`), '/dev/null');
  assert.equal(await stopped(world, terminal), 0);
});

test('a terminal that is closed costs the gateway nothing', { skip }, async (t) => {
  const { world, before } = await labOf(t);
  const terminal = startOnTerminal(t, world);
  await terminal.log.waitFor(/"msg":"Ready"/);
  terminal.child.kill('SIGKILL');
  const relay = relayOf(gatewayPid(world));
  await assertServes(world);
  await waitFor('the program that holds the terminal to end', () => !isRunning(relay));
  await assertServes(world);
  const pid = gatewayPid(world);
  process.kill(pid, 'SIGTERM');
  await waitFor('the gateway to end', () => !isRunning(pid));
  assert.deepEqual(machineState(world.lab.gateway), before);
});

interface Terminal {
  readonly child: ChildProcess;
  readonly log: LogLines;
}

async function labOf(t: TestContext): Promise<{ world: World; before: ReturnType<typeof machineState> }> {
  const world = await World.create(t, { started: false });
  return { world, before: machineState(world.lab.gateway) };
}

/** Starts the world's gateway on a pseudo-terminal; its status becomes that of the child. */
function startOnTerminal(t: TestContext, world: World, through: readonly string[] = [], output = ''): Terminal {
  const words = ['ip', 'netns', 'exec', world.lab.gateway.name, ...through, ...world.gateway.commandLine(), output];
  const command = words.join(' ');
  const child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
    stdio: ['ignore', 'pipe', 'ignore'],
    cwd: '/',
  });
  const log = new LogLines();
  log.add(child.stdout);
  t.after(() => child.kill('SIGKILL'));
  return { child, log };
}

/** An edit comes to hold, and a data plane that dies comes back. */
async function assertServes(world: World): Promise<void> {
  const { gateway } = world;
  const version = gateway.enforcedVersion();
  gateway.write('rules.yaml', yamlOf(rule(`172.16.${Math.abs(version) % 200}.0/24`)));
  await waitFor('the edit', () => gateway.enforcedVersion() > version);
  const pid = gatewayPid(world);
  const child = dataPlaneOf(pid);
  assert.ok(child !== undefined);
  process.kill(child, 'SIGKILL');
  await waitFor('another data plane', () => ![undefined, child].includes(dataPlaneOf(pid)));
  await waitFor('it to serve', () => gateway.enforcedVersion() > version);
}

async function stopped(world: World, { child }: Terminal): Promise<number | null> {
  process.kill(gatewayPid(world), 'SIGTERM');
  await waitFor('the gateway to end', () => child.exitCode !== null);
  return child.exitCode;
}

/** The holder of the state folder's lock; 0 when there is none. */
function gatewayPid({ gateway }: World): number {
  return Number(readFileSync(join(gateway.stateDir, 'lock'), 'utf8'));
}

function relayOf(parent: number): number {
  const children = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').split(' ').filter(Boolean);
  const relay = children.map(Number).find((pid) => commandOf(pid) === 'cat\0');
  assert.ok(relay !== undefined);
  return relay;
}
