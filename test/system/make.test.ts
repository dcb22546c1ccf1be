// What a person meets first: `make help`, `make build` on a machine that lacks things, `make run` and `make demo`.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync, type SpawnSyncReturns } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { runAsNobody } from '../support/as-nobody.ts';
import { LogLines } from '../support/log-lines.ts';
import { machineState } from '../support/machine-state.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { ROOT } from '../support/source-tree.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();
const TARGETS_OF_MAKE = 'build run demo test lint format generate interop fuzz bench bench-scale image'.split(' ');

test('make help lists every target', () => {
  const listed = execFileSync('make', ['-C', ROOT, '--no-print-directory', 'help'], { encoding: 'utf8' });
  for (const target of TARGETS_OF_MAKE) assert.match(listed, new RegExp(`^ +make ${target} +\\S`, 'm'), target);
});

test('make build without a compiler says what to install where there is no apt', (t) => {
  const { stderr, status } = makeOnBareMachine(t, { user: 0, apt: false });
  assert.notEqual(status, 0);
  assert.match(stderr, /^Missing programs; .*: g\+\+ $/m);
});

test('make build without a compiler tells one who is not root what root has to install', (t) => {
  const { stderr, status } = makeOnBareMachine(t, { user: 1000, apt: true });
  assert.notEqual(status, 0);
  assert.match(stderr, /root.*\n +apt-get install --no-install-recommends g\+\+ $/m);
});

test('make build as root installs the compiler, and says so when that did not help', (t) => {
  const { folder, stderr, status } = makeOnBareMachine(t, { user: 0, apt: true });
  assert.match(readFileSync(join(folder, 'apt.log'), 'utf8'), /^install .* g\+\+$/m);
  assert.notEqual(status, 0);
  assert.match(stderr, /^No C\+\+ compiler\. Install one: apt-get install .*g\+\+/m);
});

test('make build has npm run on the pinned Node, and links that even if npm has not', (t) => {
  const { folder } = makeOnBareMachine(t, { user: 0, apt: true });
  const pinned = join(folder, 'node_modules', `node-linux-${process.arch}`, 'bin');
  assert.match(
    readFileSync(join(folder, 'npm.log'), 'utf8'),
    new RegExp(`^ci --omit=dev .*\\ninstall .* from ${pinned}\\n$`),
  );
  assert.equal(readlinkSync(join(folder, 'node_modules', '.bin', 'node')), `../node-linux-${process.arch}/bin/node`);
});

test('make run without root or without a TUN device says what to do', { skip }, () => {
  const quickstart = [process.execPath, join(ROOT, 'standalone', 'quickstart.ts')];
  const options = { encoding: 'utf8', cwd: '/' } as const;
  const node = `./node_modules/node-linux-${process.arch}/bin/node`;
  const asUser = runAsNobody([node, './standalone/quickstart.ts']);
  assert.equal(asUser.status, 1);
  assert.match(asUser.stderr, /needs root.*\n.*sudo make run/);
  const hide = 'mount -t tmpfs tmpfs /dev/net && exec "$@"';
  const withoutTun = spawnSync('unshare', ['--mount', '--', 'sh', '-c', hide, 'sh', ...quickstart], options);
  assert.equal(withoutTun.status, 1);
  assert.match(withoutTun.stderr, /no TUN device.*\n.*modprobe tun\n.*--device \/dev\/net\/tun/);
});

test('make run serves the quickstart, and what it prints leads to a connection', { skip }, async (t) => {
  const world = await World.create(t, { started: false });
  const { gateway: machine, folder, target } = world.lab;
  target.ip('addr add 10.50.0.10/32 dev lan0', 'addr add 1.1.1.1/32 dev lan0', 'addr add 1.0.0.1/32 dev lan0');
  const before = machineState(machine);
  const child = machine.spawn(process.execPath, [join(ROOT, 'standalone', 'quickstart.ts')], {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: folder,
    detached: true,
  });
  t.after(() => child.kill('SIGKILL'));
  const log = new LogLines();
  for (const stream of [child.stdout, child.stderr]) if (stream !== null) log.add(stream);
  await log.waitFor(/^Ctrl-C ends the gateway/, { timeoutMs: 60_000 });

  const printed = (command: string): string => {
    const line = log.lines.find((one) => one.trim().startsWith('sudo ') && one.includes(` ${command} `)) ?? '';
    return machine.must('sh', '-c', `cd ${folder} && ${line.trim().slice('sudo '.length)}`);
  };
  printed('client-config');
  await world.connect({ profile: readFileSync(join(folder, 'laptop.ovpn'), 'utf8') });
  for (const address of ['10.50.0.10', '1.1.1.1']) assert.ok(await world.agent().reaches(address), address);
  assert.match(world.lab.client().run('ping', '-n', '-c', '1', '-W', '1', '1.0.0.1').stdout, /Packet filtered/);
  assert.match(printed('connections'), /active +laptop/);
  assert.match(printed('status'), /State: +Ready/);

  // As a terminal does on Ctrl-C.
  process.kill(-(child.pid ?? 0), 'SIGINT');
  await waitFor('the end', () => child.exitCode !== null);
  assert.equal(child.exitCode, 0);
  assert.deepEqual(machineState(machine), before);
});

test('make demo shows what is allowed and refused and a rule edited live, and cleans up', { skip }, () => {
  const { pid, status, stdout, stderr } = spawnSync(process.execPath, [join(ROOT, 'test', 'demo', 'demo.ts')], {
    encoding: 'utf8',
  });
  assert.equal(status, 0, stdout + stderr);
  for (const happening of [
    /http:\/\/192\.168\.0\.10\/ answered/,
    /http:\/\/172\.16\.0\.10\/ refused/,
    /172\.16\.0\.10 answered \d+ ms after the edit/,
    /from 172\.16\.0\.10 stopped \d+ ms after the edit; the one from 192\.168\.0\.10 goes on/,
    /shook hands once/,
    /exit status is 0/,
  ])
    assert.match(stdout, happening);
  // Named after the process that made them; those of others are not ours to judge.
  const left = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' });
  assert.ok(!left.includes(`cvt-${pid}-`), left);
});

interface BareMachine {
  readonly user: number;
  readonly apt: boolean;
}

/** `make build` in a copy of the checkout's files, with no compiler and programs that only say they were called. */
function makeOnBareMachine(
  t: TestContext,
  { user, apt }: BareMachine,
): SpawnSyncReturns<string> & { readonly folder: string } {
  const folder = mkdtempSync(join(tmpdir(), 'clientvpn-make-'));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const name of ['Makefile', '.ci', '.npmrc', 'package.json', 'package-lock.json'])
    cpSync(join(ROOT, name), join(folder, name), { recursive: true });
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  for (const program of REAL_PROGRAMS) {
    const path = execFileSync('sh', ['-c', `command -v ${program}`], { encoding: 'utf8' }).trim();
    symlinkSync(path, join(bin, program));
  }
  const node = join('node_modules', `node-linux-${process.arch}`, 'bin');
  const scripts = {
    id: `echo ${user}`,
    python3: 'true',
    // As npm 9: the package is there, the link is not; and what is left out for the Node it runs on is not there either.
    npm:
      `echo "$@" from "\${PATH%%:*}" >>${folder}/npm.log; ` +
      `mkdir -p ${node} node_modules/.bin && : >${node}/node && chmod +x ${node}/node`,
    ...(apt ? { 'apt-get': `echo "$@" >>${folder}/apt.log` } : {}),
  };
  for (const [name, script] of Object.entries(scripts)) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(bin, name), 0o755);
  }
  const result = spawnSync('make', ['build'], { cwd: folder, encoding: 'utf8', env: { PATH: bin } });
  return { ...result, folder };
}

const REAL_PROGRAMS = ['sh', 'make', 'mkdir', 'touch', 'chmod', 'dirname', 'ln', 'uname', 'find', 'sort', 'tr'];
