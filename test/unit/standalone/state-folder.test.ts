import assert from 'node:assert/strict';
import { once } from 'node:events';
import { spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { mkdtempDisposableSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { gatewayNames } from '../../../dataplane/net-setup/gateway-names.ts';
import { LOCK_FILE, StateFolder, writeFileAtomic } from '../../../standalone/state-folder.ts';
import { StateLock } from '../../../standalone/state-lock.ts';
import { StateWrites } from '../../../standalone/state-writes.ts';
import { isAlive, processIdentity } from '../../../standalone/process-identity.ts';
import { recoverLastRun } from '../../../standalone/recovery.ts';
import { leftRecord, RunRecorder } from '../../../standalone/run-record.ts';
import { PersistedMemory } from '../../../standalone/persisted-memory.ts';

const CLIENT_CIDR = { address: 0x0a4d0000, length: 22 };
const isRoot = process.getuid?.() === 0;

function temporary(t: TestContext): string {
  const folder = mkdtempDisposableSync(join(tmpdir(), 'clientvpn-state-'));
  t.after(() => folder.remove());
  return folder.path;
}

test('the folder is made closed to others and files in it are 0600', (t) => {
  const folder = StateFolder.create(join(temporary(t), 'a', 'b'));
  folder.write('secret', 'x');
  assert.equal(statSync(folder.path).mode & 0o777, 0o700);
  assert.equal(statSync(folder.pathOf('secret')).mode & 0o777, 0o600);
  assert.equal(folder.read('secret'), 'x');
  assert.equal(folder.read('nothing'), undefined);
});

test('a place where no folder can be made is refused, whoever refuses', (t) => {
  const path = temporary(t);
  writeFileSync(join(path, 'file'), '');
  symlinkSync(join(path, 'nowhere', 'x'), join(path, 'link'));
  for (const place of [
    '/proc/state',
    '/proc/a/b',
    join(path, 'file', 'x'),
    join(path, 'link'),
    join(path, 'link', 'x'),
  ])
    assert.throws(() => StateFolder.create(place), /could not be made/, place);
  assert.throws(() => StateFolder.create(join(path, 'file')), /is not a folder/);
});

test('an open folder is closed when it is a state folder or empty, and refused when it holds other things', (t) => {
  const path = temporary(t);
  chmodSync(path, 0o755);
  StateFolder.create(path);
  assert.equal(statSync(path).mode & 0o777, 0o700);
  chmodSync(path, 0o755);
  writeFileSync(join(path, 'thesis.tex'), '');
  assert.throws(() => StateFolder.create(path), /holds other things/);
  assert.equal(statSync(path).mode & 0o777, 0o755);
  writeFileSync(join(path, LOCK_FILE), '');
  StateFolder.create(path);
  assert.equal(statSync(path).mode & 0o777, 0o700);
});

test('a folder of another user is refused', { skip: isRoot ? false : 'needs root' }, (t) => {
  const path = join(temporary(t), 'theirs');
  mkdirSync(path);
  chownSync(path, 65_534, 65_534);
  assert.throws(() => StateFolder.create(path), /belongs to uid 65534/);
});

test('a link to the folder is the folder', (t) => {
  const base = temporary(t);
  const folder = StateFolder.create(join(base, 'real'));
  symlinkSync(folder.path, join(base, 'link'));
  assert.equal(StateFolder.open(join(base, 'link')).path, folder.path);
});

test('a file is replaced whole, and a failed write leaves the old one and no rest', (t) => {
  const folder = StateFolder.create(temporary(t));
  folder.write('file', 'old');
  folder.write('file', 'new');
  assert.equal(folder.read('file'), 'new');
  mkdirSync(folder.pathOf('taken'));
  assert.throws(() => writeFileAtomic(folder.pathOf('taken'), 'text'), /EISDIR|ENOTEMPTY|EEXIST/);
  assert.deepEqual(readdirSync(folder.path).sort(), ['file', 'taken']);
});

test('the lock is exclusive, names its holder, and is free again after a release', (t) => {
  const path = join(temporary(t), LOCK_FILE);
  const lock = StateLock.acquire(path);
  assert.throws(() => StateLock.acquire(path), new RegExp(`in use by another gateway \\(process ${process.pid}\\)`));
  lock.release();
  StateLock.acquire(path).release();
});

test('a killed holder leaves no lock behind', async (t) => {
  const path = join(temporary(t), LOCK_FILE);
  const module = new URL('../../../standalone/state-lock.ts', import.meta.url).href;
  const program = `import { StateLock } from '${module}'; StateLock.acquire('${path}'); console.log('held'); setInterval(() => {}, 1e6);`;
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  assert.throws(() => StateLock.acquire(path), /in use/);
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.notEqual(readFileSync(path, 'utf8'), '', 'the file still names the dead holder');
  StateLock.acquire(path).release();
});

test('a process is told from a later one with its number', () => {
  const self = processIdentity(process.pid);
  assert.ok(self !== undefined && isAlive(self));
  assert.equal(isAlive({ ...self, startTime: '1' }), false);
  assert.equal(processIdentity(2 ** 30), undefined);
});

test('a record is there while there is something to undo, and a damaged one is noticed', (t) => {
  const folder = StateFolder.create(temporary(t));
  assert.equal(leftRecord(folder), null);
  const recorder = new RunRecorder(folder);
  recorder.set({ dataPlane: { pid: 1, startTime: '2' } });
  const gateway = processIdentity(process.pid);
  const dataPlane = { pid: 1, startTime: '2' };
  assert.deepEqual(leftRecord(folder), { formatVersion: 1, gateway, network: null, dataPlane });
  writeFileSync(folder.pathOf('run.json'), '{"formatVersion":1,');
  assert.equal(leftRecord(folder), 'unreadable');
  recorder.clear();
  assert.equal(leftRecord(folder), null);
});

test('a copied folder ends nothing of the gateway that runs on the original', async (t) => {
  const original = StateFolder.create(join(temporary(t), 'original'));
  const child = spawn('sleep', ['60']);
  t.after(() => child.kill());
  const dataPlane = processIdentity(child.pid ?? 0);
  assert.ok(dataPlane !== undefined);
  const network = { ...gatewayNames(original.path), bootId: 'another', networkNamespace: 'net:[1]', switched: [] };
  new RunRecorder(original).set({ network, dataPlane });
  const copy = StateFolder.create(join(temporary(t), 'copy'));
  copyFileSync(original.pathOf('run.json'), copy.pathOf('run.json'));
  assert.equal(await recoverLastRun(copy), null);
  assert.equal(leftRecord(copy), null);
  assert.equal(isAlive(dataPlane), true);
  assert.equal(await recoverLastRun(original), 'its data plane');
  assert.equal(isAlive(dataPlane), false);
});

test('a record of the wrong shape is a damaged one', (t) => {
  const folder = StateFolder.create(temporary(t));
  const recorder = new RunRecorder(folder);
  const network = { bootId: 'b', networkNamespace: 'net:[1]', tun: 'cvpn-0123abcd', table: 'cvpn_0123abcd' };
  const whole = { network: { ...network, switched: [{ name: 'wan0', index: 2 }] }, dataPlane: null };
  recorder.set(whole);
  const gateway = processIdentity(process.pid);
  assert.deepEqual(leftRecord(folder), { formatVersion: 1, gateway, ...whole });
  for (const wrong of [
    {},
    { network: whole.network },
    { dataPlane: null },
    { network: 7, dataPlane: null },
    { network, dataPlane: null },
    ...Object.keys(network).map((name) => ({ ...whole, network: { ...whole.network, [name]: null } })),
    { ...whole, network: { ...whole.network, table: 'cvpn_0123abcd; flush ruleset' } },
    ...[null, 'wan0', { name: 'wan0' }, { name: 'wan0', index: '2' }, { name: 'wan0', index: 1.5 }].map((one) => ({
      ...whole,
      network: { ...whole.network, switched: [one] },
    })),
    ...[undefined, '1', 0, -1, 1.5].map((pid) => ({ ...whole, dataPlane: { pid, startTime: '2' } })),
    { ...whole, dataPlane: { pid: 1 } },
    { ...whole, gateway: undefined },
  ]) {
    writeFileSync(folder.pathOf('run.json'), JSON.stringify({ formatVersion: 1, gateway, ...wrong }));
    assert.equal(leftRecord(folder), 'unreadable', JSON.stringify(wrong));
  }
  for (const text of ['null', '[]', '7', JSON.stringify({ formatVersion: 2, ...whole })]) {
    writeFileSync(folder.pathOf('run.json'), text);
    assert.equal(leftRecord(folder), 'unreadable', text);
  }
});

test('memory survives a restart; damaged, it is given up', async (t) => {
  const folder = StateFolder.create(temporary(t));
  const memory = {
    leases: [{ identity: 'alice', address: '10.77.0.2', freedAt: null }],
    totpSteps: [{ user: 'alice', step: 7 }],
  };
  const troubles: string[] = [];
  const report = (reason: string): unknown => troubles.push(reason);
  const first = new PersistedMemory(folder, writesOf(assert.fail), CLIENT_CIDR, report);
  first.keepLeases(memory.leases);
  await first.keepCodes(memory.totpSteps);
  const again = (): PersistedMemory => new PersistedMemory(folder, writesOf(assert.fail), CLIENT_CIDR, report);
  assert.deepEqual(again().current, memory);
  assert.deepEqual(troubles, []);
  writeFileSync(folder.pathOf('leases.json'), 'not json');
  assert.deepEqual(again().current, { ...memory, leases: [] });
  assert.equal(troubles.length, 1);
});

test('trouble with writing is said when it begins and when everything has been written', async (t) => {
  const folder = StateFolder.create(temporary(t));
  const said: string[] = [];
  const writes = writesOf((text) => said.push(text));
  const memory = new PersistedMemory(folder, writes, CLIENT_CIDR, assert.fail);
  const leases = [{ identity: 'alice', address: '10.77.0.2', freedAt: null }];
  mkdirSync(folder.pathOf('leases.json'));
  for (let step = 1; step <= 3; step += 1) {
    memory.keepLeases(leases);
    const kept = memory.keepCodes([{ user: 'alice', step }]);
    memory.flush();
    await kept;
    writes.attempt('other', () => undefined);
    assert.deepEqual(said, ['The state folder could not be written']);
    assert.match(writes.trouble ?? '', /EISDIR/);
  }
  assert.deepEqual(memory.current.leases, leases);

  rmdirSync(folder.pathOf('leases.json'));
  const kept = memory.keepCodes([]);
  memory.flush();
  await kept;
  assert.deepEqual(said.splice(0), ['The state folder could not be written', 'The state folder can be written again']);
  assert.equal(writes.trouble, null);
  assert.deepEqual(
    new PersistedMemory(folder, writes, CLIENT_CIDR, assert.fail).current.leases,
    leases,
    'what was owed is written',
  );
});

test('a flood of sticky addresses is one write at once and one later, and codes do not wait for it', async (t) => {
  const folder = StateFolder.create(temporary(t));
  const memory = new PersistedMemory(folder, writesOf(assert.fail), CLIENT_CIDR, assert.fail);
  const leases = (count: number) => [{ identity: `user ${count}`, address: '10.77.0.2', freedAt: null }];
  const onDisk = () => new PersistedMemory(folder, writesOf(assert.fail), CLIENT_CIDR, assert.fail).current;
  for (let count = 1; count <= 5_000; count += 1) memory.keepLeases(leases(count));
  assert.deepEqual(onDisk().leases, leases(1));
  assert.deepEqual(memory.current.leases, leases(5_000), 'for a data plane that is started now');
  await memory.keepCodes([{ user: 'alice', step: 1 }]);
  const later = memory.keepCodes([{ user: 'bob', step: 2 }]);
  assert.deepEqual(onDisk().totpSteps, [{ user: 'alice', step: 1 }]);
  memory.flush();
  await later;
  assert.deepEqual(onDisk(), { leases: leases(5_000), totpSteps: [{ user: 'bob', step: 2 }] });
});

test('a data plane that talks nonsense leaves nothing that its successor could not start with', async (t) => {
  const memory = new PersistedMemory(StateFolder.create(temporary(t)), writesOf(assert.fail), CLIENT_CIDR, assert.fail);
  memory.keepLeases(7 as never);
  await memory.keepCodes(null as never);
  assert.deepEqual(memory.current, { leases: [], totpSteps: [] });
  await memory.keepCodes([null, { user: 'alice', step: 1 }, { user: 'bob' }] as never);
  assert.deepEqual(memory.current.totpSteps, [{ user: 'alice', step: 1 }]);
});

test('what a data plane leaves to its successor is no longer than what that starts with, nor other than it was asked', async (t) => {
  const memory = new PersistedMemory(StateFolder.create(temporary(t)), writesOf(assert.fail), CLIENT_CIDR, assert.fail);
  const longest = JSON.stringify(['\u0001'.repeat(255), '"'.repeat(64)]);
  const lease = { identity: longest, address: '10.77.3.255', freedAt: 1_767_225_600_000 };
  memory.keepLeases([
    { ...lease, rest: 'x'.repeat(1_000) },
    lease,
    ...['10.77.4.0', '::1', 'x'.repeat(1_000)].map((address) => ({ ...lease, address })),
    { ...lease, address: '10.77.0.2', identity: 'x'.repeat(2_049) },
    { ...lease, address: '10.77.0.2', freedAt: 'x' },
  ] as never);
  assert.deepEqual(memory.current.leases, [lease]);
  const used = { user: '\ufffd'.repeat(85), step: 7 };
  await memory.keepCodes([
    { ...used, rest: 0 },
    { ...used, step: 8 },
    { ...used, user: `${used.user}a` },
  ] as never);
  assert.deepEqual(memory.current.totpSteps, [used]);
});

test('files that no data plane could start with are read as far as one can, with a word about the rest', (t) => {
  const folder = StateFolder.create(temporary(t));
  const fill = '\u0001'.repeat(240);
  const leases = Array.from({ length: 70_000 }, (_, index) => ({
    identity: fill,
    address: `10.${64 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`,
    freedAt: null,
  }));
  const totpSteps = leases.map(({ identity, address }) => ({ user: `${address}${identity}`.slice(0, 255), step: 1 }));
  const poison = { identity: '\ufffd'.repeat(1_000_000), address: '10.64.0.0', freedAt: null };
  folder.write('leases.json', JSON.stringify({ formatVersion: 1, leases: [poison, ...leases] }));
  folder.write('used-codes.json', JSON.stringify({ formatVersion: 1, totpSteps }));
  const troubles: string[] = [];
  const clientCidr = { address: 0x0a400000, length: 12 };
  const report = (reason: string): unknown => troubles.push(reason);
  const { current } = new PersistedMemory(folder, writesOf(assert.fail), clientCidr, report);
  assert.ok(Buffer.byteLength(JSON.stringify(current)) < 41 * 1024 * 1024);
  assert.deepEqual(current.leases[0], leases[0]);
  assert.ok(current.leases.length > 10_000 && current.totpSteps.length > 10_000);
  assert.match(troubles.join(), /^leases\.json: \d+ of 70001 entries .*,used-codes\.json: \d+ of 70000 entries /);
});

function writesOf(say: (text: string) => unknown): StateWrites {
  const log = (...line: readonly unknown[]): void => void say(String(line.at(-1)));
  return new StateWrites({ error: log, info: log });
}
