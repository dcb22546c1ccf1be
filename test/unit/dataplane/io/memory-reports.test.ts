import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { MemoryReports } from '../../../../dataplane/io/memory-reports.ts';
import type { DataPlaneMemory } from '../../../../dataplane/process-messages.ts';

function reports(t: TestContext): { reports: MemoryReports; sent: DataPlaneMemory[]; change: () => void } {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  const sent: DataPlaneMemory[] = [];
  let revision = 0;
  const made = new MemoryReports({
    revision: () => String(revision),
    read: () => ({ leases: [], totpSteps: [{ user: 'alice', step: revision }] }),
    send: (memory) => void sent.push(memory),
  });
  t.after(() => made.close());
  return { reports: made, sent, change: () => void (revision += 1) };
}

test('tells every ten seconds what has changed, and nothing else', (t) => {
  const { sent, change } = reports(t);
  t.mock.timers.tick(10_000);
  assert.equal(sent.length, 0);
  change();
  t.mock.timers.tick(10_000);
  assert.equal(sent.length, 1);
  t.mock.timers.tick(30_000);
  assert.equal(sent.length, 1);
});

test('tells a used code at once, and all that were used in the second after it together', (t) => {
  const { reports: memory, sent, change } = reports(t);
  for (let code = 1; code <= 100; code += 1) {
    change();
    memory.tellSoon();
  }
  assert.deepEqual(
    sent.map(({ totpSteps }) => totpSteps[0]?.step),
    [1],
  );
  t.mock.timers.tick(1_000);
  assert.deepEqual(
    sent.map(({ totpSteps }) => totpSteps[0]?.step),
    [1, 100],
  );
});

test('leaves nothing untold at the end', (t) => {
  const { reports: memory, sent, change } = reports(t);
  change();
  memory.tellSoon();
  change();
  memory.tellSoon();
  memory.tell();
  assert.deepEqual(
    sent.map(({ totpSteps }) => totpSteps[0]?.step),
    [1, 2],
  );
});
