import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MessageBudget } from '../../../standalone/message-budget.ts';

const HOUR_MS = 3_600_000;

function budget() {
  const clock = { ms: 5_000 };
  return { clock, budget: new MessageBudget(() => clock.ms) };
}

/** How many of them are taken. */
function taken(from: MessageBudget, kind: string, most = 100_000): number {
  let count = 0;
  while (count < most && from.objection(kind) === null) count += 1;
  return count;
}

test('an honest data plane is never refused, however long it runs and whatever it is asked', () => {
  const { clock, budget: honest } = budget();
  const said: string[] = ['applied', 'ready'];
  for (let round = 0; round < 2_000; round += 1) {
    clock.ms += 10_000;
    said.push('leases');
    for (const kind of ['connections', 'terminated'] as const) {
      honest.expect(kind);
      said.push(kind);
    }
    honest.expect('applied', 'rejected');
    said.push(round % 2 === 0 ? 'applied' : 'rejected');
    for (let login = 0; login < 100; login += 1) {
      said.push('codesUsed');
      for (const kind of said.splice(0)) assert.equal(honest.objection(kind), null);
      honest.expect('codesUsed');
    }
  }
  assert.equal(honest.objection('leases'), null, 'once more at the end');
});

test('one whose parent stood still for an hour is not refused for what it said meanwhile', () => {
  const { clock, budget: honest } = budget();
  clock.ms += HOUR_MS;
  for (let count = 0; count < HOUR_MS / 10_000; count += 1) assert.equal(honest.objection('leases'), null);
});

test('what nobody asked for is refused by name after a few', () => {
  const { budget: one } = budget();
  assert.equal(one.objection('ready'), null);
  assert.equal(one.objection('ready'), 'it says twice that it is ready');
  for (const kind of ['failed', 'applied', 'rejected', 'connections', 'terminated', 'codesUsed']) {
    assert.equal(taken(one, kind), 10, kind);
    assert.equal(one.objection(kind), `it says more than it has to: ${kind}`);
  }
  for (const kind of ['', 'toString', '__proto__', undefined as never])
    assert.equal(one.objection(kind), 'it says what has no meaning');
});

test('of sticky addresses ten times as many are taken as there can be, and no more are saved up than an hour has', () => {
  const { clock, budget: one } = budget();
  assert.equal(taken(one, 'leases'), 20);
  clock.ms += 60_000;
  assert.equal(taken(one, 'leases'), 59);
  clock.ms += 100 * HOUR_MS;
  assert.equal(taken(one, 'leases'), 360);
});
