import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
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
  console.error(stdio);
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
  assert.deepEqual([stderr, stdout], ['1\n', 'its line\nours\n']);
});

test('lends a socket itself', () => {
  const { stdout, stderr } = spawnSync(process.execPath, ARGUMENTS, { encoding: 'utf8' });
  assert.deepEqual([stderr, stdout], ['1\n', 'its line\nours\n']);
});
