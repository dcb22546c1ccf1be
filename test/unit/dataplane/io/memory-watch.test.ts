import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { readMemoryBounds, type MemoryBound } from '../../../../dataplane/io/memory-bounds.ts';
import { MemoryWatch } from '../../../../dataplane/io/memory-watch.ts';

const MIB = 1024 * 1024;
const POD = '0::/kubepods/pod1/main\n';
const FOLDER = 'cgroup/kubepods/pod1/main';

/** The bounds that the kernel's files, by path, say; the machine is this one. */
function boundsFrom(t: TestContext, files: Readonly<Record<string, string>>): readonly MemoryBound[] {
  const folder = mkdtempSync(join(tmpdir(), 'memory-bounds-'));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  const bounds = readMemoryBounds({ process: join(folder, 'self'), controlGroups: join(folder, 'cgroup') });
  return bounds.filter(({ name }) => name !== 'machine');
}

test('the machine is a bound', () => {
  const bound = readMemoryBounds().find(({ name }) => name === 'machine');
  assert.ok(bound !== undefined && bound.usedBytes > MIB && bound.usedBytes < bound.limitBytes, JSON.stringify(bound));
});

test('a container counts without the pages of files that can be given up', (t) => {
  const bounds = boundsFrom(t, {
    'self/cgroup': POD,
    [`${FOLDER}/memory.max`]: `${512 * MIB}\n`,
    [`${FOLDER}/memory.current`]: `${500 * MIB}\n`,
    [`${FOLDER}/memory.stat`]: `anon ${90 * MIB}\nfile ${400 * MIB}\nshmem ${10 * MIB}\nfile_mapped ${50 * MIB}\n`,
  });
  assert.deepEqual(bounds, [{ name: 'container', usedBytes: 160 * MIB, limitBytes: 512 * MIB }]);
});

test('version 1 of control groups counts the whole container too, at its own path or at the root it sees', (t) => {
  for (const folder of ['cgroup/memory/docker/1', 'cgroup/memory']) {
    const bounds = boundsFrom(t, {
      'self/cgroup': '11:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n0::/\n',
      [`${folder}/memory.limit_in_bytes`]: `${512 * MIB}\n`,
      [`${folder}/memory.usage_in_bytes`]: `${500 * MIB}\n`,
      [`${folder}/memory.stat`]: `cache 1\ntotal_cache ${400 * MIB}\ntotal_shmem ${10 * MIB}\ntotal_mapped_file ${50 * MIB}\n`,
    });
    assert.deepEqual(bounds, [{ name: 'container', usedBytes: 160 * MIB, limitBytes: 512 * MIB }]);
  }
});

test('the limit of a group above holds too', (t) => {
  t.mock.method(process, 'constrainedMemory', () => 256 * MIB);
  for (const [max, limitMib] of [
    ['max', 256],
    [512 * MIB, 256],
    [128 * MIB, 128],
  ] as const) {
    const [bound] = boundsFrom(t, {
      'self/cgroup': POD,
      [`${FOLDER}/memory.max`]: `${max}\n`,
      [`${FOLDER}/memory.current`]: `${100 * MIB}\n`,
    });
    assert.deepEqual(bound, { name: 'container', usedBytes: 100 * MIB, limitBytes: limitMib * MIB });
  }
});

test('a container without a limit, or with more than there is, bounds nothing', (t) => {
  for (const max of ['max\n', `${totalmem() * 2}\n`]) {
    const files = { 'self/cgroup': POD, [`${FOLDER}/memory.max`]: max, [`${FOLDER}/memory.current`]: '5000000\n' };
    assert.deepEqual(boundsFrom(t, files), []);
  }
  assert.deepEqual(boundsFrom(t, {}), []);
});

test('limits of the process count when they are set', (t) => {
  const limits = (data: string, space: string): string =>
    `Limit                     Soft Limit           Hard Limit           Units     \nMax data size             ${data}            unlimited            bytes     \nMax address space         ${space}            unlimited            bytes     \n`;
  const status = 'VmPeak:\t 9999999 kB\nVmSize:\t 2048 kB\nVmData:\t    1024 kB\n';
  assert.deepEqual(boundsFrom(t, { 'self/limits': limits('unlimited', 'unlimited'), 'self/status': status }), []);
  assert.deepEqual(boundsFrom(t, { 'self/limits': limits('8388608', '16777216'), 'self/status': status }), [
    { name: 'data size', usedBytes: MIB, limitBytes: 8 * MIB },
    { name: 'address space', usedBytes: 2 * MIB, limitBytes: 16 * MIB },
  ]);
});

test('says once that memory is short and of what, and once that it suffices, with room between the two', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const changes: (string | null)[] = [];
  let used = 400 * MIB;
  const watch = new MemoryWatch({
    read: () => [
      { name: 'machine', usedBytes: 0, limitBytes: 4096 * MIB },
      { name: 'container', usedBytes: used, limitBytes: 512 * MIB },
    ],
    onChange: (short) => changes.push(short?.name ?? null),
  });
  t.after(() => watch.close());
  const after = (usedMib: number): readonly (string | null)[] => {
    used = usedMib * MIB;
    t.mock.timers.tick(1_000);
    return changes;
  };
  // A twentieth of 512 MiB is 25.6.
  assert.deepEqual(after(486), []);
  assert.deepEqual(after(487), ['container']);
  assert.deepEqual(after(511), ['container']);
  assert.deepEqual(after(480), ['container'], 'not at once: whoever leaves would let in the next');
  assert.deepEqual(after(470), ['container', null]);
});

test('looks once a second while there is plenty, and four times otherwise', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let used = 100 * MIB;
  let looks = 0;
  const watch = new MemoryWatch({
    read: () => {
      looks += 1;
      return [{ name: 'container', usedBytes: used, limitBytes: 512 * MIB }];
    },
    onChange: () => undefined,
  });
  t.after(() => watch.close());
  const looksIn = (seconds: number): number => {
    looks = 0;
    for (let quarter = 0; quarter < 4 * seconds; quarter++) t.mock.timers.tick(250);
    return looks;
  };
  assert.equal(looksIn(5), 5);
  // Four twentieths of 512 MiB are 102.4.
  used = 409 * MIB;
  assert.equal(looksIn(5), 5);
  used = 410 * MIB;
  looksIn(1);
  assert.equal(looksIn(5), 20);
});

test('keeps back at least 24 MiB, 64 of a limit of the process, and never more than 128', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const isShort = (name: MemoryBound['name'], limitMib: number, leftMib: number): boolean => {
    let short = false;
    const bound = { name, usedBytes: (limitMib - leftMib) * MIB, limitBytes: limitMib * MIB };
    new MemoryWatch({ read: () => [bound], onChange: () => (short = true) }).close();
    return short;
  };
  for (const [name, limitMib, keptMib] of [
    ['container', 128, 24],
    ['container', 1024, 51.2],
    ['machine', 65_536, 128],
    ['data size', 256, 64],
    ['address space', 1024, 64],
  ] as const) {
    assert.equal(isShort(name, limitMib, keptMib + 0.1), false, `${name} of ${limitMib}`);
    assert.equal(isShort(name, limitMib, keptMib - 0.1), true, `${name} of ${limitMib}`);
  }
});
