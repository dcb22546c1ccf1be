import assert from 'node:assert/strict';
import {
  appendFileSync,
  mkdirSync,
  mkdtempDisposableSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { ManifestWatch } from '../../../standalone/manifest-watch.ts';
import { waitFor } from '../../support/wait.ts';

async function watching(
  t: TestContext,
  paths: (folder: string) => readonly string[],
  prepare: (folder: string) => void,
  pollMs = 60_000,
): Promise<{ folder: string; calls: () => number; watch: ManifestWatch }> {
  const folder = mkdtempDisposableSync(join(tmpdir(), 'clientvpn-watch-'));
  prepare(folder.path);
  let calls = 0;
  const onChange = async (): Promise<void> => void calls++;
  const watch = new ManifestWatch({ paths: paths(folder.path), onChange, restMs: 20, pollMs });
  t.after(async () => {
    await watch.close();
    folder.remove();
  });
  await watch.start();
  return { folder: folder.path, calls: () => calls, watch };
}

const whole = (folder: string): readonly string[] => [folder];
const oneFile = (folder: string): readonly string[] => [join(folder, 'a.yaml')];
const withFile = (folder: string): void => writeFileSync(join(folder, 'a.yaml'), 'a');

for (const { name, paths, change } of [
  { name: 'a file that is written', paths: oneFile, change: (f: string) => appendFileSync(join(f, 'a.yaml'), 'b') },
  {
    name: 'a file that is replaced by rename',
    paths: oneFile,
    change: (f: string) => {
      writeFileSync(join(f, '.new'), 'b');
      renameSync(join(f, '.new'), join(f, 'a.yaml'));
    },
  },
  { name: 'a file added to a folder', paths: whole, change: (f: string) => writeFileSync(join(f, 'b.yaml'), 'b') },
  { name: 'a file removed from a folder', paths: whole, change: (f: string) => rmSync(join(f, 'a.yaml')) },
]) {
  test(`notices ${name}, without the poll`, async (t) => {
    const { folder, calls } = await watching(t, paths, withFile);
    change(folder);
    await waitFor('the call', () => calls() === 1);
  });
}

test('a file replaced twice by rename is noticed twice', async (t) => {
  const { folder, calls } = await watching(t, oneFile, withFile);
  for (const round of [1, 2]) {
    writeFileSync(join(folder, '.new'), `round ${round}`);
    renameSync(join(folder, '.new'), join(folder, 'a.yaml'));
    await waitFor('the call', () => calls() === round);
  }
});

test('a link that is turned, as Kubernetes does with mounted ConfigMaps, is noticed', async (t) => {
  const { folder, calls } = await watching(t, whole, (f) => {
    mkdirSync(join(f, '..v1'));
    mkdirSync(join(f, '..v2'));
    writeFileSync(join(f, '..v1', 'a.yaml'), 'one');
    writeFileSync(join(f, '..v2', 'a.yaml'), 'two!');
    symlinkSync('..v1', join(f, '..data'));
    symlinkSync('..data/a.yaml', join(f, 'a.yaml'));
  });
  symlinkSync('..v2', join(folder, '..tmp'));
  renameSync(join(folder, '..tmp'), join(folder, '..data'));
  await waitFor('the call', () => calls() === 1);
});

test('what no notification tells of is found by the poll', async (t) => {
  const elsewhere = mkdtempDisposableSync(join(tmpdir(), 'clientvpn-elsewhere-'));
  t.after(() => elsewhere.remove());
  const target = join(elsewhere.path, 'real.yaml');
  writeFileSync(target, 'one');
  const { calls } = await watching(t, whole, (f) => symlinkSync(target, join(f, 'a.yaml')), 30);
  writeFileSync(target, 'two');
  await waitFor('the call', () => calls() === 1);
});

test('writes in quick succession are taken once, at rest', async (t) => {
  const { folder, calls } = await watching(t, oneFile, withFile);
  for (let round = 0; round < 50; round += 1) appendFileSync(join(folder, 'a.yaml'), 'x');
  await waitFor('the call', () => calls() === 1);
});

test('nothing is called for a look at unchanged files, unless the memory is to be forgotten', async (t) => {
  const { calls, watch } = await watching(t, oneFile, withFile);
  watch.look();
  await watch.idle();
  assert.equal(calls(), 0);
  watch.look('forget');
  await watch.idle();
  assert.equal(calls(), 1);
});
