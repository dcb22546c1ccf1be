import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../support/source-tree.ts';

const TESTS = join(ROOT, 'test', 'unit', 'dataplane', 'native');
const ADDON = join(ROOT, 'dataplane', 'native', 'build', 'Debug', 'clientvpn.node');

/** The library as the compiler knows it; must be loaded first, since Node is not built with it. */
const library = spawnSync(process.env['CXX'] ?? 'g++', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).stdout;
const skip = existsSync((library ?? '').trim()) ? false : 'the compiler has no AddressSanitizer';

test('the addon passes its own tests under AddressSanitizer and UndefinedBehaviorSanitizer', { skip }, (t) => {
  const build = join(ROOT, 'dataplane', 'native', 'build.mjs');
  run(process.execPath, [build, '--sanitize'], {});
  const binary = readFileSync(ADDON);
  for (const needed of ['libasan.so', 'libubsan.so']) assert.ok(binary.includes(needed), `built without ${needed}`);
  const files = readdirSync(TESTS).map((name) => join(TESTS, name));
  const output = run(process.execPath, ['--test', '--test-reporter=tap', ...files], {
    LD_PRELOAD: library.trim(),
    CLIENTVPN_ADDON_BUILD: 'Debug',
    // Node frees little at its end.
    ASAN_OPTIONS: 'detect_leaks=0',
    UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
  });
  const passed = Number(/^# pass (\d+)$/m.exec(output)?.[1]);
  t.diagnostic(`${passed} tests`);
  assert.ok(passed > 50, output);
  assert.match(output, /^# skipped 0$/m);
});

function run(program: string, options: readonly string[], more: Readonly<Record<string, string>>): string {
  const env: NodeJS.ProcessEnv = { ...process.env, ...more };
  // Else the inner run speaks the protocol of the outer runner instead of text.
  delete env['NODE_TEST_CONTEXT'];
  const result = spawnSync(program, options, { env, encoding: 'utf8', timeout: 300_000, maxBuffer: 1 << 26 });
  assert.equal(result.status, 0, `${result.stdout}${result.stderr}`);
  return result.stdout;
}
