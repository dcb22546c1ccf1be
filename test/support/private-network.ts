import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { skipWithoutNamespaces } from './requirements.ts';

const INSIDE = 'CLIENTVPN_TEST_INSIDE';

/**
 * Runs `declareTests` in a network namespace that only this test file has, by running the file again inside one.
 * Loopback is up there; everything else is the tests' to make, and vanishes with them.
 */
export function inPrivateNetwork(file: string, declareTests: () => void): void {
  if (process.env[INSIDE] === file) {
    execFileSync('ip', ['link', 'set', 'lo', 'up']);
    declareTests();
    return;
  }
  test('in a network of its own', { skip: skipWithoutNamespaces() }, () => {
    const env: NodeJS.ProcessEnv = { ...process.env, [INSIDE]: file };
    // Else the inner run speaks the protocol of the outer runner instead of text.
    delete env['NODE_TEST_CONTEXT'];
    const command = ['--net', process.execPath, '--test-reporter=spec', '--test', '--test-isolation=none', file];
    const result = spawnSync('unshare', command, { env, encoding: 'utf8', timeout: 180_000, maxBuffer: 1 << 26 });
    assert.equal(result.status, 0, `${result.stdout}${result.stderr}`);
  });
}
