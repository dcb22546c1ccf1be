// What a gateway does to the machine it runs on, and what is left of it afterwards.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { gatewayNames } from '../../dataplane/net-setup/gateway-names.ts';
import { processIdentity } from '../../standalone/process-identity.ts';
import { runAsNobody } from '../support/as-nobody.ts';
import { Gateway } from '../support/gateway.ts';
import { connected, dataPlanePid, lab, MANIFESTS, running } from '../support/lone-gateway.ts';
import { machineState } from '../support/machine-state.ts';
import { endpoint, route, rule, targetNetwork, yamlOf } from '../support/manifests.ts';
import { TARGETS, type Namespace } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { StockClient } from '../support/stock-client.ts';
import { waitFor } from '../support/wait.ts';

const skip = skipWithoutNamespaces();

function forwards(namespace: Namespace, name: string): boolean {
  return namespace.must('cat', `/proc/sys/net/ipv4/conf/${name}/forwarding`).trim() === '1';
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} undoes everything within five seconds and exits 0`, { skip }, async (t) => {
    const world = lab(t);
    const before = machineState(world.gateway);
    const gateway = await running(t, { lab: world, manifests: MANIFESTS });
    await connected(gateway, world);
    assert.notDeepEqual(machineState(world.gateway), before);
    gateway.signal(signal);
    assert.equal(await gateway.exited(5_000), 0);
    assert.deepEqual(machineState(world.gateway), before);
    assert.equal(existsSync(join(gateway.stateDir, 'run.json')), false);
    assert.equal(existsSync(join(gateway.stateDir, 'command.sock')), false);
  });
}

for (const { when, plant } of [
  {
    when: 'late in the start',
    plant: `const { Server } = await import('node:net');
      Server.prototype.listen = () => { throw new RangeError('planted'); };`,
  },
  {
    when: 'in starting the data plane',
    plant: `const { ChildProcess } = await import('node:child_process');
      const { spawn } = ChildProcess.prototype;
      ChildProcess.prototype.spawn = function (options) {
        if (options.args.includes('--channel-fd')) throw new RangeError('planted');
        return spawn.call(this, options);
      };`,
  },
  {
    when: 'in ending',
    plant: `process.on('SIGTERM', () => setImmediate(() => { throw new RangeError('planted'); }));`,
  },
]) {
  test(`a fault of ours ${when} is said with its place, undone, and exits 1`, { skip }, async (t) => {
    const world = lab(t);
    const before = machineState(world.gateway);
    const environment = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(plant)}` };
    const gateway = new Gateway({ lab: world, manifests: MANIFESTS, environment });
    gateway.spawn();
    if (when === 'in ending') {
      await gateway.log.waitFor(/"msg":"Ready"/);
      gateway.signal('SIGTERM');
    }
    assert.equal(await gateway.exited(), 1);
    const faults = gateway.log.lines.filter((line) => line.startsWith('{"level":"fatal"'));
    assert.equal(faults.length, 1, gateway.log.lines.join('\n'));
    const { name, cause, stack, msg } = JSON.parse(faults[0] ?? '') as Readonly<Record<string, string>>;
    assert.deepEqual({ name, cause, msg }, { name: 'RangeError', cause: 'planted', msg: 'Gateway failed' });
    assert.match(stack ?? '', /^RangeError: planted\n +at /);
    assert.doesNotMatch(gateway.log.lines.join('\n'), /PRIVATE KEY|OpenVPN Static key/);
    assert.deepEqual(machineState(world.gateway), before);
    assert.equal(existsSync(join(gateway.stateDir, 'run.json')), false);
  });
}

test('the next start cleans up after a gateway that was killed, and ends with nothing left', { skip }, async (t) => {
  const world = lab(t);
  const before = machineState(world.gateway);
  const options = { lab: world, manifests: MANIFESTS };
  const first = await running(t, options);
  const child = dataPlanePid(first);
  first.signal('SIGKILL');
  await first.exited();
  await waitFor('the data plane to follow', () => processIdentity(child) === undefined);
  assert.match(world.gateway.must('nft', 'list', 'ruleset'), /masquerade/, 'the killed run left its rules');
  assert.ok(forwards(world.gateway, 'wan0'), 'and forwarding');

  const second = await running(t, options);
  const tables = world.gateway.must('nft', 'list', 'tables').trim().split('\n');
  assert.equal(tables.length, 1, 'nothing is doubled');
  assert.equal(await second.stop(), 0);
  assert.deepEqual(machineState(world.gateway), before);
});

test('a damaged record of a killed run costs its forwarding, not the next start', { skip }, async (t) => {
  const world = lab(t);
  const gateway = await running(t, { lab: world, manifests: MANIFESTS });
  for (const record of ['{"formatVersion":1}', '{"formatVersion":1,"network":{},"dataPlane":null}', '{"forma']) {
    gateway.signal('SIGKILL');
    await gateway.exited();
    writeFileSync(join(gateway.stateDir, 'run.json'), record);
    const from = gateway.log.mark();
    await gateway.start();
    await gateway.log.waitFor(/a damaged record/, { from });
  }
  const tables = world.gateway.must('nft', 'list', 'tables').trim().split('\n');
  assert.equal(tables.length, 1, 'the rules are not doubled');
  assert.equal(await gateway.stop(), 0);
  assert.equal(world.gateway.must('nft', 'list', 'ruleset'), '');
});

test('a data plane that hangs on after its parent was killed is ended by the next start', { skip }, async (t) => {
  const world = lab(t);
  const options = { lab: world, manifests: MANIFESTS };
  const first = await running(t, options);
  const child = dataPlanePid(first);
  process.kill(child, 'SIGSTOP');
  first.signal('SIGKILL');
  await first.exited();
  assert.notEqual(processIdentity(child), undefined);
  const second = await running(t, options);
  assert.equal(processIdentity(child), undefined);
  assert.equal(await second.stop(), 0);
});

test('forwarding is on for every interface but loopback, also for those that come later', { skip }, async (t) => {
  const world = lab(t);
  const { gateway: machine } = world;
  const gateway = await running(t, { lab: world, manifests: MANIFESTS });
  assert.ok(forwards(machine, 'wan0') && forwards(machine, 'lan0'));
  assert.equal(forwards(machine, 'lo'), false);
  machine.ip('link add late0 type veth peer name late1');
  await waitFor('forwarding of a new interface', () => forwards(machine, 'late0') && forwards(machine, 'late1'));
  machine.must('sh', '-c', 'echo 0 > /proc/sys/net/ipv4/conf/wan0/forwarding');
  await waitFor('forwarding that was switched off', () => forwards(machine, 'wan0'));
  assert.equal(await gateway.stop(), 0);
  assert.equal(forwards(machine, 'late0'), false);
});

test('an interface that forwarded before is left alone', { skip }, async (t) => {
  const world = lab(t);
  const { gateway: machine } = world;
  machine.must('sh', '-c', 'echo 1 > /proc/sys/net/ipv4/conf/lan0/forwarding');
  const before = machineState(machine);
  const gateway = await running(t, { lab: world, manifests: MANIFESTS });
  const { table } = gatewayNames(gateway.stateDir);
  const switched = machine.must('nft', 'list', 'set', 'inet', table, 'switched');
  assert.ok(switched.includes('"wan0"') && !switched.includes('"lan0"'), switched);
  assert.equal(await gateway.stop(), 0);
  assert.deepEqual(machineState(machine), before);
});

test('the machine becomes no router for anybody but clients', { skip }, async (t) => {
  const world = lab(t);
  // As if the gateway were a router: both sides send their packets for each other to it.
  world.target.ip('route add 10.99.0.0/24 via 10.60.0.1');
  world.client().ip('route add 192.168.0.0/24 via 10.99.0.1');
  const gateway = await running(t, { lab: world, manifests: MANIFESTS });
  assert.equal(world.target.ping('10.99.0.254'), false, 'target → wan');
  assert.equal(world.client().ping(TARGETS.vpc), false, 'wan → target');
  world.client().ip('route del 192.168.0.0/24 via 10.99.0.1');
  await connected(gateway, world);
  assert.ok(world.client().ping(TARGETS.vpc), 'client → target');
});

test('a source in the client CIDR from anywhere but the tunnel is dropped', { skip }, async (t) => {
  const world = lab(t, 2);
  await running(t, { lab: world, manifests: MANIFESTS });
  const counter =
    'table ip t { chain c { type filter hook prerouting priority raw; icmp type echo-request counter; }; }';
  world.target.must('nft', counter);
  const spoofer = world.client(1);
  spoofer.ip('addr add 10.200.0.77/32 dev wan0', 'route add 192.168.0.0/24 via 10.99.0.1');
  spoofer.run('ping', '-n', '-c', '2', '-W', '1', '-I', '10.200.0.77', TARGETS.vpc);
  assert.match(world.target.must('nft', 'list', 'table', 'ip', 't'), /packets 0 /);
});

test('clients reach none of the gateway’s own addresses, whatever the rules', { skip }, async (t) => {
  const world = lab(t);
  const everything = [route('10.60.0.0/24'), rule('10.60.0.0/24'), route('169.254.0.0/16'), rule('169.254.0.0/16')];
  world.gateway.ip('addr add 169.254.169.254/32 dev lan0', 'link add dummy0 type veth peer name dummy1');
  const gateway = await running(t, {
    lab: world,
    manifests: { 'all.yaml': yamlOf(endpoint(), targetNetwork(), ...everything) },
  });
  await connected(gateway, world);
  assert.ok(world.client().ping('10.60.0.2'), 'the network around the address is reachable');
  assert.equal(world.client().ping('10.60.0.1'), false, 'the gateway’s address in it is not');
  world.client().ip('route add 169.254.169.254/32 dev tun0');
  assert.equal(world.client().ping('169.254.169.254'), false, 'nor are cloud credentials');
});

test('a second gateway beside it keeps serving when the first one ends', { skip }, async (t) => {
  const world = lab(t, 2);
  const before = machineState(world.gateway);
  const first = await running(t, { lab: world, manifests: MANIFESTS, name: 'first' });
  const second = await running(t, {
    lab: world,
    name: 'second',
    manifests: {
      'all.yaml': yamlOf(
        endpoint({ port: 443, spec: { clientCIDR: '10.204.0.0/22' } }),
        targetNetwork(),
        rule('192.168.0.0/24'),
      ),
    },
  });
  await connected(first, world, 0);
  await connected(second, world, 1);
  assert.ok(world.client(0).ping(TARGETS.vpc) && world.client(1).ping(TARGETS.vpc));
  assert.equal(await first.stop(), 0);
  await waitFor('the second gateway to look after forwarding', () => forwards(world.gateway, 'lan0'));
  assert.ok(world.client(1).ping(TARGETS.vpc));
  assert.equal(await second.stop(), 0);
  assert.deepEqual(machineState(world.gateway), before);
});

test('one state folder and one port serve one gateway', { skip }, async (t) => {
  const world = lab(t);
  const first = await running(t, { lab: world, manifests: MANIFESTS });
  const sameFolder = new Gateway({ lab: world, manifests: MANIFESTS });
  sameFolder.spawn();
  assert.equal(await sameFolder.exited(), 2);
  assert.match(sameFolder.log.lines.join('\n'), /in use by another gateway \(process \d+\)/);
  const samePort = new Gateway({ lab: world, manifests: MANIFESTS, name: 'other' });
  samePort.spawn();
  assert.equal(await samePort.exited(), 2);
  assert.match(samePort.log.lines.join('\n'), /Port 1194\/udp is taken/);
  assert.equal(first.status().state, 'Ready');
});

test('rules that somebody flushed and a TUN that somebody removed come back', { skip }, async (t) => {
  const world = lab(t);
  const before = machineState(world.gateway);
  const gateway = await running(t, { lab: world, manifests: MANIFESTS });
  world.gateway.must('nft', 'flush', 'ruleset');
  await gateway.log.waitFor(/Reinstalled the nft table/);
  assert.match(world.gateway.must('nft', 'list', 'ruleset'), /masquerade/);

  world.gateway.must('ip', 'link', 'delete', gatewayNames(gateway.stateDir).tun);
  await gateway.log.waitFor(/The TUN device was removed/);
  await waitFor('the data plane on a new TUN', () => gateway.status().state === 'Ready');
  await connected(gateway, world);
  assert.ok(world.client().ping(TARGETS.vpc));
  assert.equal(await gateway.stop(), 0);
  // Interfaces keep their numbers; a replaced TUN has used one up, which `before` can't show.
  assert.deepEqual(machineState(world.gateway), before);
});

test('a full disk is reported and cuts nobody off', { skip }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), `clientvpn-disk-`));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k,mode=0700', 'tmpfs', folder]);
  t.after(() => {
    execFileSync('umount', ['--lazy', folder]);
    rmdirSync(folder);
  });
  const world = lab(t, 2);
  mkdirSync(join(world.folder, 'gateway'));
  symlinkSync(folder, join(world.folder, 'gateway', 'state'));
  const gateway = await running(t, { lab: world, manifests: MANIFESTS });
  const profiles = [0, 1].map((index) => gateway.clientConfig({ client: `client-${index + 1}` }));
  spawnSync('dd', ['if=/dev/zero', `of=${join(folder, 'filler')}`, 'bs=4k'], { stdio: 'ignore' });
  for (const [index, profile] of profiles.entries()) {
    const namespace = world.client(index);
    const client = new StockClient({ namespace, folder: world.folder, name: `c${index}`, profile });
    await client.connected();
    assert.ok(namespace.ping(TARGETS.vpc));
  }
  await gateway.log.waitFor(/The state folder could not be written/);
  assert.equal(await gateway.stop(), 0);
});

test('an edit is enforced, a bad one refused with its finding in the status', { skip }, async (t) => {
  const world = lab(t);
  const gateway = await running(t, { lab: world, manifests: MANIFESTS });
  const version = gateway.enforcedVersion();
  gateway.write('all.yaml', yamlOf(endpoint(), targetNetwork(), rule('192.168.0.0/25')));
  await gateway.log.waitFor(/"msg":"Applied"/);
  assert.equal(gateway.enforcedVersion(), version + 1);

  gateway.write('all.yaml', yamlOf(endpoint(), targetNetwork(), rule('192.168.0.1/25')));
  await gateway.log.waitFor(/Refused the edited manifests/);
  const refused = gateway.status();
  assert.match(
    refused.refused?.findings.join('\n') ?? '',
    /all\.yaml:\d+: AuthorizationRule\/.*: spec\.destinationCIDR: /,
  );
  assert.equal(refused.snapshot?.version, version + 1, 'the last good state holds');

  for (const spec of [{ clientCIDR: '10.208.0.0/22' }, { port: 443 }, { transport: 'tcp' }]) {
    const from = gateway.log.mark();
    gateway.write('all.yaml', yamlOf(endpoint({ spec }), targetNetwork(), rule('192.168.0.0/24')));
    await gateway.log.waitFor(/restart to apply/, { from });
  }
  const from = gateway.log.mark();
  gateway.write('all.yaml', '');
  await gateway.log.waitFor(/Refused the edited manifests/, { from });
  gateway.write('all.yaml', MANIFESTS['all.yaml']);
  await waitFor('the good set', () => gateway.status().refused === null);
  assert.equal(gateway.enforcedVersion(), version + 2);
});

test('an edit during the start and one while the data plane is restarting both come to hold', { skip }, async (t) => {
  const world = lab(t);
  const gateway = new Gateway({ lab: world, manifests: MANIFESTS });
  t.after(async () => {
    gateway.signal('SIGKILL');
    await gateway.exited();
  });
  gateway.spawn();
  const edit = (cidr: string): void => gateway.write('all.yaml', yamlOf(endpoint(), targetNetwork(), rule(cidr)));
  await waitFor('the state folder', () => existsSync(join(gateway.stateDir, 'run.json')));
  edit('192.168.0.0/25');
  const holds = (cidr: string): boolean =>
    gateway.status().snapshot !== null &&
    gateway.status().objects.some(({ name }) => name === `rule-${cidr.replaceAll(/[./]/g, '-')}-all`);
  await gateway.log.waitFor(/"msg":"Ready"/);
  await waitFor('the edit during the start', () => holds('192.168.0.0/25'));
  process.kill(dataPlanePid(gateway), 'SIGKILL');
  edit('192.168.0.0/26');
  await waitFor('the edit during the restart', () => holds('192.168.0.0/26'));
});

test('what could not be undone is undone by the next start', { skip }, async (t) => {
  const world = lab(t);
  const before = machineState(world.gateway);
  const broken = join(world.folder, 'broken');
  const environment = withNft(world, (nft) => `[ ! -e ${broken} ] && exec ${nft} "$@"\nexit 1`);
  const first = await running(t, { lab: world, manifests: MANIFESTS, environment });
  writeFileSync(broken, '');
  await first.stop();
  assert.match(first.log.lines.join('\n'), /nft failed.*A step of the clean-up failed/);
  rmSync(broken);
  const second = await running(t, { lab: world, manifests: MANIFESTS, environment });
  assert.match(second.log.lines.join('\n'), /Cleaned up after the run before/);
  assert.equal(await second.stop(), 0);
  assert.deepEqual(machineState(world.gateway), before);
});

test('a kernel that can count no flows is named in the log and in the status', { skip }, async (t) => {
  const world = lab(t);
  const environment = withNft(
    world,
    (nft) => `script=$(cat)\ncase $script in *"ct count"*) exit 1 ;; esac\necho "$script" | ${nft} "$@"`,
  );
  const gateway = await running(t, { lab: world, manifests: MANIFESTS, environment });
  assert.match(gateway.log.lines.join('\n'), /nft_connlimit.*Clients are served, but/);
  assert.match(gateway.status().warnings.join('\n'), /nft_connlimit/);
});

/** The environment in which `nft` is a shell script that may call the real one. */
function withNft(world: { readonly folder: string }, script: (nft: string) => string): { readonly PATH: string } {
  const programs = join(world.folder, 'programs');
  mkdirSync(programs);
  const nft = execFileSync('sh', ['-c', 'command -v nft'], { encoding: 'utf8' }).trim();
  writeFileSync(join(programs, 'nft'), `#!/bin/sh\n${script(nft)}\n`, { mode: 0o755 });
  return { PATH: `${programs}:${process.env['PATH']}` };
}

test('without root the command says so', { skip }, () => {
  const options = ['standalone', '--manifests', '/', '--state-dir', '/tmp/nobody-state'];
  const result = runAsNobody(['./bin/clientvpn', ...options]);
  assert.equal(result.status, 2);
  assert.match(result.stderr, /root.*sudo/);
});

test('a folder with other things in it is not taken for the state folder', { skip }, async (t) => {
  const world = lab(t);
  const gateway = new Gateway({ lab: world, manifests: MANIFESTS });
  mkdirSync(gateway.stateDir, { recursive: true, mode: 0o755 });
  writeFileSync(join(gateway.stateDir, 'precious.txt'), 'x');
  gateway.spawn();
  assert.equal(await gateway.exited(), 2);
  assert.match(gateway.log.lines.join('\n'), /holds other things/);
});
