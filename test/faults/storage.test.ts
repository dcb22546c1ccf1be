import assert from 'node:assert/strict';
import { execFileSync, type StdioOptions } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gatewayProcesses, isRunning } from '../support/gateway-processes.ts';
import { machineState } from '../support/machine-state.ts';
import { rule, yamlOf } from '../support/manifests.ts';
import { TARGETS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();
const PAGE_BYTES = 4096;
const OVER = /The state folder can be written again/;

for (const { what, breakIt, mend, reason } of [
  {
    what: 'a full disk',
    breakIt: (folder: string) => fill(join(folder, 'filler')),
    mend: (folder: string) => rmSync(join(folder, 'filler')),
    reason: /ENOSPC/,
  },
  {
    what: 'a state folder that became read-only',
    // A view of it that only the gateway has; the folder itself can't be made read-only while its lock is held.
    breakIt: (folder: string, pid: number) => {
      inMountsOf(pid, 'mount', '--bind', folder, folder);
      inMountsOf(pid, 'mount', '-o', 'remount,bind,ro', folder);
    },
    mend: (folder: string, pid: number) => {
      if (isRunning(pid)) inMountsOf(pid, 'umount', '--lazy', folder);
    },
    reason: /EROFS/,
  },
]) {
  test(`${what}: the tunnel goes on, it is said once, and everything can be undone`, { skip }, async (t) => {
    const world = await World.create(t, { started: false });
    const state = world.gateway.stateDir;
    mkdirSync(state, { recursive: true });
    // The lab removes what is mounted in its folder.
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=0700', 'tmpfs', state]);
    const before = machineState(world.lab.gateway);
    await world.gateway.start();
    const client = await world.connect();
    const { parent } = await gatewayProcesses(world.gateway);

    breakIt(state, parent);
    const from = world.gateway.log.mark();
    // Whoever says it, in whatever words; the killed data plane and the rules without a route are other things.
    const troubles = (since = from): readonly string[] =>
      world.gateway.log.lines
        .slice(since)
        .filter((line) => /^{"level":"(warn|error|fatal)"/.test(line) && !/was killed by|NoRoute/.test(line));
    for (let count = 1; count <= 5; count += 1) {
      await applyRules(world, count);
      assert.ok(await world.agent().reaches(TARGETS.vpc));
    }
    // A restart of the data plane writes too.
    const mark = client.log.mark();
    process.kill((await gatewayProcesses(world.gateway)).child, 'SIGKILL');
    await world.gateway.log.waitFor(/The data plane is back/, { from });
    client.signal('SIGUSR1');
    await client.connected({ from: mark });
    assert.ok(await world.agent().reaches(TARGETS.vpc));
    assert.equal(troubles().length, 1, troubles().join('\n'));
    assert.match(troubles()[0] ?? '', reason);
    assert.ok(
      world.gateway.status().warnings.some((line) => reason.test(line)),
      'status says it',
    );

    mend(state, parent);
    await applyRules(world, 6);
    await world.gateway.log.waitFor(OVER, { from });
    assert.equal(troubles().length, 1, troubles().join('\n'));
    assert.equal(world.gateway.log.lines.slice(from).filter((line) => OVER.test(line)).length, 1);
    assert.equal(
      world.gateway.status().warnings.some((line) => reason.test(line)),
      false,
    );
    breakIt(state, parent);
    // The data plane's last word is its leases, and its end is written down.
    const stopping = world.gateway.log.mark();
    assert.equal(await world.gateway.stop(), 0);
    const said = troubles(stopping).filter((line) => !line.includes('A step of the clean-up failed'));
    assert.equal(said.length, 1, said.join('\n'));
    assert.deepEqual(machineState(world.lab.gateway), before);
    mend(state, parent);
    await world.gateway.start();
    await client.connected({ from: mark });
  });
}

test('a log on a full disk goes on when there is room, and says how many lines were lost', { skip }, async (t) => {
  const world = await World.create(t, { started: false });
  const disk = join(world.lab.folder, 'log');
  mkdirSync(disk);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk]);
  const log = join(disk, 'gateway.log');
  const [program = '', ...arguments_] = world.gateway.commandLine();
  const stdio: StdioOptions = ['ignore', openSync(log, 'a'), 'ignore'];
  const gateway = world.lab.gateway.spawn(program, arguments_, { stdio, cwd: '/' });
  t.after(() => gateway.kill('SIGKILL'));
  const lines = (): readonly string[] => readFileSync(log, 'utf8').split('\n').filter(Boolean);
  await waitFor('the gateway', () => lines().some((line) => line.includes('"msg":"Ready"')), 30_000);
  let edits = 0;
  const edit = async (): Promise<void> => {
    const version = world.gateway.enforcedVersion();
    edits += 1;
    world.gateway.write('rules.yaml', yamlOf(rule(`172.16.${edits}.0/24`)));
    await waitFor('the edit', () => world.gateway.enforcedVersion() > version);
  };

  // The last page of the file would have room.
  appendFileSync(log, '\n'.padStart(PAGE_BYTES - (statSync(log).size % PAGE_BYTES)));
  fill(join(disk, 'filler'));
  const before = lines().length;
  await edit();
  await edit();
  assert.equal(lines().length, before);

  rmSync(join(disk, 'filler'));
  await edit();
  const told = await waitFor('both processes to go on', () => {
    const notices = lines().filter((line) => line.includes('Log lines were lost'));
    return notices.length === 2 ? notices : undefined;
  });
  // Each edit is a line of the data plane and one of its parent, or more.
  for (const line of told) assert.ok((JSON.parse(line) as { lost: number }).lost >= 2, line);
  await waitFor('the edit to be logged', () => lines().some((line) => line.includes('"msg":"Applied"')));
});

test('a start without room on the disk says so and leaves nothing behind', { skip }, async (t) => {
  const world = await World.create(t, { started: false });
  const state = world.gateway.stateDir;
  mkdirSync(state, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16k,mode=0700', 'tmpfs', state]);
  fill(join(state, 'filler'));
  const before = machineState(world.lab.gateway);
  world.gateway.spawn();
  assert.equal(await world.gateway.exited(), 2);
  await world.gateway.log.waitFor(/ENOSPC/);
  assert.deepEqual(machineState(world.lab.gateway), before);
});

test(
  'manifests that go away and come back, or turn to garbage and back, cost nobody the connection',
  { skip },
  async (t) => {
    const world = await World.create(t);
    await world.connect();
    const { gateway } = world;
    const good = yamlOf(rule('192.168.0.0/24'));
    const isRefused = (): Promise<unknown> => waitFor('the refusal', () => gateway.status().refused !== null);
    const isAccepted = (): Promise<unknown> => waitFor('the good state', () => gateway.status().refused === null);

    await t.test('the folder', async () => {
      execFileSync('mv', [gateway.manifests, `${gateway.manifests}.away`]);
      await isRefused();
      assert.ok(await world.agent().reaches(TARGETS.vpc));
      execFileSync('mv', [`${gateway.manifests}.away`, gateway.manifests]);
      await isAccepted();
      gateway.write('more.yaml', yamlOf(rule('172.16.0.0/24')));
      await gateway.log.waitFor(/"msg":"Applied"/);
    });
    for (const { what, text } of [
      { what: 'text that is no YAML', text: 'kind: [unclosed\n\t- {' },
      { what: 'bytes', text: '\u0000\u0001\ufffd\u0007'.repeat(1000) },
      { what: 'another kind of document', text: 'a: b' },
      { what: 'a deep nest', text: '['.repeat(20_000) },
      { what: 'aliases that multiply', text: bomb() },
    ]) {
      await t.test(`a file: ${what}`, async () => {
        gateway.write('rules.yaml', text);
        await isRefused();
        assert.ok(await world.agent().reaches(TARGETS.vpc));
        gateway.write('rules.yaml', good);
        await isAccepted();
      });
    }
    await t.test('the folder made anew, with SIGHUP', async () => {
      execFileSync('cp', ['-a', gateway.manifests, `${gateway.manifests}.copy`]);
      rmSync(gateway.manifests, { recursive: true });
      await isRefused();
      execFileSync('mv', [`${gateway.manifests}.copy`, gateway.manifests]);
      gateway.signal('SIGHUP');
      await isAccepted();
      gateway.remove('rules.yaml');
      await waitFor('the rule to go', async () => !(await world.agent().reaches(TARGETS.vpc)));
      gateway.write('rules.yaml', good);
      await waitFor('the rule to come back', () => world.agent().reaches(TARGETS.vpc));
    });
    assert.equal(gateway.connections().length, 1);
  },
);

/** A rule of its own each time, so that each edit is one. */
async function applyRules(world: World, number: number): Promise<void> {
  const from = world.gateway.log.mark();
  world.gateway.write('rules.yaml', yamlOf(rule('192.168.0.0/24'), rule(`172.16.${number}.0/24`)));
  await world.gateway.log.waitFor(/"msg":"Applied"/, { from });
}

function inMountsOf(pid: number, ...command: readonly string[]): void {
  execFileSync('nsenter', ['--target', String(pid), '--mount', ...command]);
}

/** Writes until nothing goes in any more. */
function fill(path: string): void {
  const file = openSync(path, 'a');
  try {
    for (const size of [65_536, 512]) {
      const block = new Uint8Array(size);
      try {
        while (writeSync(file, block) === size);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      }
    }
  } finally {
    closeSync(file);
  }
  assert.ok(existsSync(path));
}

/** Nine levels of ten references each. */
function bomb(): string {
  const lines = ['a0: &a0 [x]'];
  for (let level = 1; level < 9; level += 1)
    lines.push(
      `a${level}: &a${level} [${Array(10)
        .fill(`*a${level - 1}`)
        .join(', ')}]`,
    );
  return lines.join('\n');
}
