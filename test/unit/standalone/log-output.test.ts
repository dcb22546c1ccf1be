import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const MODULE = join(import.meta.dirname, '..', '..', '..', 'standalone', 'log-output.ts');
/** Lends its standard output to a process that writes a line, and says on standard error what it has lent. */
const PROGRAM = `
  import { spawn } from 'node:child_process';
  import { once } from 'node:events';
  import { openLogOutput } from ${JSON.stringify(MODULE)};
  const output = openLogOutput({ onRelayLost: console.error, onNotLent: console.error });
  const { stdio, release } = output.lend();
  console.error(typeof stdio === 'string' ? stdio : 'relay');
  const borrower = spawn('/bin/echo', ['its line'], { stdio: ['ignore', stdio, 'inherit'] });
  release();
  await once(borrower, 'exit');
  output.stream.write('ours\\n');
  await output.close(2_000);`;
const ARGUMENTS = ['--input-type=module', '--eval', PROGRAM];

test('lends a pipe itself', () => {
  const { stdout, stderr } = spawnSync('sh', ['-c', '"$0" "$@" | cat', process.execPath, ...ARGUMENTS], {
    encoding: 'utf8',
  });
  assert.deepEqual([stderr, stdout], ['inherit\n', 'its line\nours\n']);
});

test('lends a relay of its own in place of a socket, all of whose lines arrive', () => {
  const { stdout, stderr } = spawnSync(process.execPath, ARGUMENTS, { encoding: 'utf8' });
  assert.equal(stderr, 'relay\n');
  assert.deepEqual(stdout.split('\n').sort(), ['', 'its line', 'ours']);
});

test('lends a relay in place of a file, which a borrower could empty', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'clientvpn-log-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'log');
  const file = openSync(path, 'a');
  const { stderr } = spawnSync(process.execPath, ARGUMENTS, { encoding: 'utf8', stdio: ['ignore', file, 'pipe'] });
  closeSync(file);
  assert.equal(stderr, 'relay\n');
  assert.deepEqual(readFileSync(path, 'utf8').split('\n').sort(), ['', 'its line', 'ours']);
});

test('lends nothing where there is no cat, and says so', () => {
  const env = { PATH: '/nonexistent' };
  const { stderr } = spawnSync(process.execPath, ARGUMENTS, { encoding: 'utf8', env });
  assert.match(stderr, /^ignore\nspawn cat ENOENT\n$/);
});
