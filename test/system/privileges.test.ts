// What the data plane, and others on the machine, can not do.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gatewayNames } from '../../dataplane/net-setup/gateway-names.ts';
import { connected, dataPlanePid, lab, MANIFESTS, running } from '../support/lone-gateway.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';

const skip = skipWithoutNamespaces();
/** TUNSETIFF for one more queue of a multi-queue TUN with virtio-net headers. */
const ATTACH_QUEUE =
  'open(F, "+<", "/dev/net/tun") && ioctl(F, 0x400454ca, pack("a16 S x22", $ARGV[0], 0x5101)) or die "$!\\n"';

function standingOf(pid: number): { readonly parent: number; readonly terminal: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { parent: Number(fields[1]), terminal: Number(fields[4]) };
}

test('the data plane has no user, capability or privilege left', { skip }, async (t) => {
  const world = lab(t);
  const gateway = await running(t, { lab: world, manifests: MANIFESTS });
  const status = readFileSync(`/proc/${dataPlanePid(gateway)}/status`, 'utf8');
  assert.match(status, /^Uid:\t65532\t65532\t65532\t65532$/m);
  assert.match(status, /^Gid:\t65532\t65532\t65532\t65532$/m);
  assert.match(status, /^Groups:\t *$/m);
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
    assert.match(status, new RegExp(`^${set}:\t0+$`, 'm'));
  assert.match(status, /^NoNewPrivs:\t1$/m);
  assert.match(status, /^NSpid:\t\d+\t1$/m, 'it sees no other process');
});

test('the data plane has no terminal, also where its parent has one', { skip }, async (t) => {
  const through = ['sh', '-c', 'exec script --quiet --return --command "$*" /dev/null', 'sh'];
  const gateway = await running(t, { lab: lab(t), manifests: MANIFESTS, through });
  const child = dataPlanePid(gateway);
  const { parent, terminal } = standingOf(child);
  try {
    assert.equal(terminal, 0);
    assert.notEqual(standingOf(parent).terminal, 0);
  } finally {
    process.kill(parent, 'SIGTERM');
  }
  assert.equal(await gateway.exited(), 0);
});

test('nobody but root can attach to the TUN, even where everybody may open the device', { skip }, async (t) => {
  const world = lab(t);
  const gateway = await running(t, { lab: world, manifests: MANIFESTS });
  const { tun } = gatewayNames(gateway.stateDir);
  world.gateway.ip('tuntap add dev free0 mode tun multi_queue vnet_hdr');
  const device = join(world.folder, 'tun');
  execFileSync('mknod', ['-m', '666', device, 'c', '10', '200']);
  const withDevice = ['--mount', 'sh', '-c', `mount --bind ${device} /dev/net/tun && exec "$0" "$@"`];
  const asNobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--bounding-set=-all'];
  const attach = (name: string): string =>
    world.gateway.run('unshare', ...withDevice, ...asNobody, 'perl', '-e', ATTACH_QUEUE, name).stderr;
  assert.match(attach(tun), /Operation not permitted/);
  assert.equal(attach('free0'), '', 'one without an owner takes anybody');
});

test('nobody but root can read the memory of the two processes, and no core dump holds it', { skip }, async (t) => {
  const through = ['setpriv', '--regid=65534', '--clear-groups', '--'];
  const gateway = await running(t, { lab: lab(t), manifests: MANIFESTS, through });
  const child = dataPlanePid(gateway);
  for (const pid of [gateway.pid ?? 0, child]) {
    // Of a process that may be dumped they belong to its user and its group.
    const { uid, gid } = statSync(`/proc/${pid}/mem`);
    assert.deepEqual([uid, gid], [0, 0]);
  }
  const asItsUser = ['--reuid=65532', '--regid=65532', '--clear-groups', '--', 'cat', `/proc/${child}/environ`];
  assert.match(spawnSync('setpriv', asItsUser, { encoding: 'utf8' }).stderr, /Permission denied/);
});

test('a signal opens no debugger in the data plane', { skip }, async (t) => {
  const world = lab(t);
  const gateway = await running(t, { lab: world, manifests: MANIFESTS });
  process.kill(dataPlanePid(gateway), 'SIGUSR1');
  await connected(gateway, world);
  assert.equal(world.gateway.must('ss', '--listening', '--tcp', '--no-header'), '');
});
