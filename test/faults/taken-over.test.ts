// What a data plane does that somebody else has taken over, and what its parent makes of it.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { commandOf, gatewayProcesses, isRunning, residentBytes } from '../support/gateway-processes.ts';
import { dataPlanePid, lab, MANIFESTS, running } from '../support/lone-gateway.ts';
import { machineState } from '../support/machine-state.ts';
import { endpoint, rule, targetNetwork, yamlOf } from '../support/manifests.ts';
import { TARGETS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { takenOver } from '../support/data-plane-script.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();
const MIB = 1024 * 1024;

test(
  'what a data plane has started ends with it, whatever it holds and whoever became its parent',
  { skip },
  async (t) => {
    const script = `
    const { spawn } = await import('node:child_process');
    const stdio = ['ignore', 'ignore', 'ignore', 4, 5, 6];
    spawn('setsid', ['--fork', 'sleep', 'infinity'], { detached: true, stdio });`;
    const world = await World.create(t, { environment: takenOver(script) });
    const { child } = await gatewayProcesses(world.gateway);
    const from = world.gateway.log.mark();
    process.kill(child, 'SIGUSR2');
    const left = await waitFor('what it starts', () => sleeping(world));
    assert.ok(holdsTun(left));
    process.kill(child, 'SIGKILL');
    await world.gateway.log.waitFor(/The data plane is back/, { from });
    assert.equal(isRunning(left), false);
  },
);

test('who has got hold of the channel of a data plane that has ended is not heard', { skip }, async (t) => {
  const script = `
    const { spawn } = await import('node:child_process');
    const more = 'sleep 1; while printf x >&3; do sleep 0.1; done';
    spawn('sh', ['-c', more], { detached: true, stdio: ['ignore', 'ignore', 'ignore', 3] });`;
  // Without this capability there is no process namespace, whose end would be the accomplice's too.
  const through = ['setpriv', '--bounding-set=-sys_admin', '--inh-caps=-sys_admin', '--'];
  const gateway = await running(t, { lab: lab(t), manifests: MANIFESTS, environment: takenOver(script), through });
  const child = dataPlanePid(gateway);
  process.kill(child, 'SIGUSR2');
  const accomplice = await waitFor('the accomplice', () => childOf(child));
  const from = gateway.log.mark();
  process.kill(child, 'SIGKILL');
  await waitFor('the data plane to end', () => !isRunning(child));
  assert.ok(isRunning(accomplice), 'it outlives the data plane');
  await gateway.log.waitFor(/The data plane is back/, { from });
  await waitFor('its channel to break', () => !isRunning(accomplice));
  assert.equal(await gateway.stop(), 0);
});

/**
 * What it takes no privilege to do to descriptors for everybody who has them: a filter that lets nothing pass and can't be
 * removed (new kernels: not for TCP), hearing one interface only, calls that wait, a TUN that stays.
 */
const SPOIL = `
  use constant { F_SETFL => 4, TUNSETPERSIST => 0x400454cb, SOL_SOCKET => 1, SO_TYPE => 3, SOCK_DGRAM => 2 };
  use constant { SO_BINDTODEVICE => 25, SO_ATTACH_FILTER => 26, SO_LOCK_FILTER => 44 };
  for my $fd (3 .. 2 + shift) {
    open(my $given, '+<&=', $fd) or die "open $fd: $!";
    fcntl($given, F_SETFL, 0) or die "fcntl: $!";
    if (!-S $given) {
      ioctl($given, TUNSETPERSIST, 1) or die "persist: $!";
    } elsif (unpack('i', getsockopt($given, SOL_SOCKET, SO_TYPE)) == SOCK_DGRAM) {
      my $drop = pack('SCCL', 6, 0, 0, 0);
      setsockopt($given, SOL_SOCKET, SO_ATTACH_FILTER, pack('Sx6P', 1, $drop)) or die "filter: $!";
      setsockopt($given, SOL_SOCKET, SO_LOCK_FILTER, pack('i', 1)) or die "lock: $!";
    } else {
      setsockopt($given, SOL_SOCKET, SO_BINDTODEVICE, 'lo') or die "bind: $!";
    }
  }`;

for (const transport of ['udp', 'tcp'] as const) {
  test(`what a data plane does to what it shares over ${transport} ends with it`, { skip }, async (t) => {
    const script = `
      const { spawnSync } = await import('node:child_process');
      const { fstatSync, writeSync } = await import('node:fs');
      const isGiven = (fd) => fstatSync(fd).isSocket() || fstatSync(fd).isCharacterDevice();
      const given = [];
      while (isGiven(4 + given.length)) given.push(4 + given.length);
      const stdio = ['ignore', 'ignore', 'pipe', ...given];
      const { status, stderr } = spawnSync('perl', ['-e', ${JSON.stringify(SPOIL)}, given.length], { stdio });
      writeSync(1, 'spoilt ' + given.length + ': ' + status + ' ' + stderr + '\\n');`;
    const world = await World.create(t, {
      started: false,
      environment: takenOver(script),
      manifests: { 'all.yaml': yamlOf(endpoint({ transport }), targetNetwork(), rule('192.168.0.0/24')) },
    });
    const { gateway } = world;
    const before = machineState(world.lab.gateway);
    await gateway.start();
    const client = await world.connect({ options: ['--connect-retry', '1', '1', '--connect-timeout', '2'] });
    const spoilt = async (): Promise<number> => {
      const { child } = await gatewayProcesses(gateway);
      const from = gateway.log.mark();
      process.kill(child, 'SIGUSR2');
      await gateway.log.waitFor(/^spoilt [2-9]: 0 $/, { from });
      return child;
    };
    const returns = async (): Promise<void> => {
      const from = client.log.mark();
      client.signal('SIGUSR1');
      await client.connected({ from });
      await waitFor('the target', () => world.lab.client().ping(TARGETS.vpc));
    };

    await t.test('the next one hears the clients', async () => {
      const child = await spoilt();
      const from = gateway.log.mark();
      process.kill(child, 'SIGKILL');
      await gateway.log.waitFor(/The data plane is back/, { from });
      await returns();
    });
    await t.test('a gateway that was killed with it starts again', async () => {
      process.kill(await spoilt(), 'SIGKILL');
      gateway.signal('SIGKILL');
      await gateway.exited();
      await gateway.start();
      await returns();
    });
    await t.test('nothing stays after a stop', async () => {
      await spoilt();
      assert.equal(await gateway.stop(), 0);
      assert.deepEqual(machineState(world.lab.gateway), before);
    });
  });
}

for (const { what, script, reason, most } of [
  {
    what: 'sends a line without an end',
    script: `
      const piece = 'x'.repeat(65_536);
      const more = () => channel.write(piece, (error) => error ? undefined : more());
      more();`,
    reason: /"cause":"A line is longer than \d+ bytes"/,
    most: 128 * MIB,
  },
  {
    what: 'says what is no message',
    script: `channel.write('null\\n');`,
    reason: /"cause":"it says what has no meaning"/,
    most: 64 * MIB,
  },
  {
    what: 'leaves names to the next that it could not start with',
    // What is not UTF-8 is three times as long on disk.
    script: `
      const name = Buffer.alloc(15 * 1_048_576, 0xff);
      for (const message of [
        { kind: 'codesUsed', sequence: 1, totpSteps: [{ user: '_', step: 1 }] },
        { kind: 'leases', leases: [{ identity: '_', address: '10.0.0.2', freedAt: null }] },
      ]) {
        const [before, after] = JSON.stringify(message).split('_');
        for (const piece of [before, name, after + '\\n']) channel.write(piece);
      }`,
    reason: /"cause":"A line is longer than \d+ bytes"/,
    most: 64 * MIB,
  },
  {
    what: 'says again that it is ready',
    script: `
      const again = JSON.stringify({ kind: 'ready' }) + '\\n';
      const more = () => channel.write(again.repeat(1_000), (error) => error ? undefined : more());
      more();`,
    reason: /"cause":"it says twice that it is ready"/,
    most: 64 * MIB,
  },
  {
    what: 'has sticky addresses written without end',
    script: `
      const leases = JSON.stringify({ kind: 'leases', leases: [] }) + '\\n';
      const more = () => channel.write(leases.repeat(1_000), (error) => error ? undefined : more());
      more();`,
    reason: /"cause":"it says more than it has to: leases"/,
    most: 64 * MIB,
  },
  {
    what: 'waits for no answer to its used codes',
    script: `
      const codes = JSON.stringify({ kind: 'codesUsed', sequence: 7, totpSteps: [] }) + '\\n';
      const more = () => channel.write(codes.repeat(1_000), (error) => error ? undefined : more());
      more();`,
    reason: /"cause":"it says more than it has to: codesUsed"/,
    most: 64 * MIB,
  },
  {
    what: 'closes its channel and stays',
    script: `channel.end(); setInterval(() => undefined, 1_000);`,
    reason: /"cause":"it was killed by SIGKILL"/,
    most: 128 * MIB,
  },
]) {
  test(`a data plane that ${what} is killed and replaced`, { skip }, async (t) => {
    const world = await World.create(t, { environment: takenOver(script) });
    const client = await world.connect({ options: ['--connect-retry', '1', '1', '--connect-timeout', '2'] });
    const { parent, child } = await gatewayProcesses(world.gateway);
    const before = residentBytes(parent);
    const from = world.gateway.log.mark();
    const clientFrom = client.log.mark();
    process.kill(child, 'SIGUSR2');
    await world.gateway.log.waitFor(reason, { from });
    assert.equal(isRunning(child), false);
    const grown = residentBytes(parent) - before;
    t.diagnostic(`the parent grew by ${Math.round(grown / MIB)} MiB`);
    assert.ok(grown < most, `${grown} bytes`);
    await world.gateway.log.waitFor(/The data plane is back/, { from });
    client.signal('SIGUSR1');
    await client.connected({ from: clientFrom });
    await waitFor('the target', () => world.lab.client().ping(TARGETS.vpc));
  });
}

function childOf(pid: number): number | undefined {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
  return children.map(Number).find((child) => commandOf(child).startsWith('sh'));
}

/** The process that sleeps for ever in the gateway's network namespace. */
function sleeping({ lab }: World): number | undefined {
  const pids = lab.gateway.must('ip', 'netns', 'pids', lab.gateway.name).trim().split('\n').map(Number);
  return pids.find((pid) => commandOf(pid).startsWith('sleep'));
}

function holdsTun(pid: number): boolean {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder).some((fd) => readlinkSync(`${folder}/${fd}`) === '/dev/net/tun');
}
