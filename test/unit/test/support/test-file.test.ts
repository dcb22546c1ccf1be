import assert from 'node:assert/strict';
import { mkdtempDisposableSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { runTestFile, type FileReport } from '../../../support/test-file.ts';

async function reportOf(text: string, timeoutS = 60): Promise<readonly string[]> {
  using folder = mkdtempDisposableSync(join(tmpdir(), 'clientvpn-test-file-'));
  const file = join(folder.path, 'some.test.mjs');
  writeFileSync(file, `import { describe, it, test } from 'node:test';\n${text}`);
  const { outcomes }: FileReport = await runTestFile({ file, name: 'some', timeoutS });
  return outcomes.map(({ name, result, detail }) => `${result}: ${name}${result === 'skipped' ? `: ${detail}` : ''}`);
}

test('what is skipped is reported with its reason, whole suites too', async () => {
  const text = `
    test('passes', () => undefined);
    test('waits', { skip: 'needs root' }, () => undefined);
    describe('suite', { skip: 'needs more' }, () => { it('never runs', () => undefined); });`;
  assert.deepEqual(await reportOf(text), [
    'passed: passes',
    'skipped: waits: needs root',
    'skipped: suite: needs more',
  ]);
});

test('a file that fails, ends early, runs no test or does not end has failed', async () => {
  assert.deepEqual(await reportOf(`test('fails', () => { throw new Error('no'); });`), ['failed: fails']);
  assert.deepEqual(await reportOf(`process.exit(3);`), ['failed: (whole file)']);
  assert.deepEqual(await reportOf(''), ['failed: (whole file)']);
  assert.deepEqual(await reportOf(`setInterval(() => undefined, 1_000);`, 2), ['failed: (whole file)']);
});
