import assert from 'node:assert/strict';
import { test } from 'node:test';
import { longestMessages } from '../../../standalone/message-bound.ts';
import { MessageBudget } from '../../../standalone/message-budget.ts';
import { dataPlaneConfig } from '../../support/data-plane-configs.ts';

const HOUR_MS = 3_600_000;
const LONGEST = longestMessages(dataPlaneConfig());
const SHORT = 100;

function budget() {
  const clock = { ms: 5_000 };
  return { clock, budget: new MessageBudget(() => clock.ms, LONGEST) };
}

/** How many of them are taken. */
function taken(from: MessageBudget, kind: string, bytes = SHORT, most = 100_000): number {
  let count = 0;
  while (count < most && from.objection(kind, bytes) === null) count += 1;
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
      for (const kind of said.splice(0)) {
        const bytes = LONGEST[kind as keyof typeof LONGEST];
        assert.equal(honest.mostBytes(`{"kind":"${kind}",`), bytes);
        assert.equal(honest.objection(kind, bytes), null);
      }
      honest.expect('codesUsed');
    }
  }
  assert.equal(honest.objection('leases', SHORT), null, 'once more at the end');
});

test('one whose parent stood still for an hour is not refused for what it said meanwhile', () => {
  const { clock, budget: honest } = budget();
  clock.ms += HOUR_MS;
  for (let count = 0; count < HOUR_MS / 10_000; count += 1) assert.equal(honest.objection('leases', SHORT), null);
});

test('what nobody asked for is refused by name after a few', () => {
  const { budget: one } = budget();
  assert.equal(one.objection('ready', SHORT), null);
  assert.equal(one.objection('ready', SHORT), 'it says twice that it is ready');
  const few = { failed: 10, applied: 10, rejected: 10, terminated: 10, connections: 0, codesUsed: 1 };
  for (const [kind, most] of Object.entries(few)) {
    assert.equal(taken(one, kind), most, kind);
    assert.equal(one.objection(kind, SHORT), `it says more than it has to: ${kind}`);
  }
  for (const kind of ['', 'toString', '__proto__', undefined as never])
    assert.equal(one.objection(kind, SHORT), 'it says what has no meaning');
});

test('of sticky addresses ten times as many are taken as there can be, and no more are saved up than an hour has', () => {
  const { clock, budget: one } = budget();
  assert.equal(taken(one, 'leases'), 20);
  clock.ms += 60_000;
  assert.equal(taken(one, 'leases'), 59);
  clock.ms += 100 * HOUR_MS;
  assert.equal(taken(one, 'leases'), 360);
});

test('a kind has its own length, which is looked at before and after a line is read', () => {
  const { budget: one } = budget();
  const kilobytes = 64 * 1024;
  assert.equal(one.mostBytes('{"kind":"connections","requestId":1'), kilobytes, 'nobody asked');
  one.expect('connections', 'terminated');
  assert.equal(one.mostBytes('{"kind":"connections","requestId":1'), LONGEST.connections);
  for (const head of ['', '{"kind', ' {"kind":"connections"', '{"kind":"toString"', '{"a":1,"kind":"connections"'])
    assert.equal(one.mostBytes(head), kilobytes, head);
  assert.equal(one.objection('terminated', LONGEST.connections), 'it says more at once than there is: terminated');
  assert.equal(one.objection('connections', LONGEST.connections), null);
});

test('long sticky addresses are taken as often as there can be, and saved up by no more than the pipe has room for', () => {
  const { clock, budget: one } = budget();
  clock.ms += 100 * HOUR_MS;
  const most = 3 + Math.floor((1024 * 1024) / LONGEST.leases);
  assert.equal(taken(one, 'leases', LONGEST.leases), most);
  const { clock: later, budget: another } = budget();
  let bytes = 0;
  for (later.ms += HOUR_MS; another.objection('leases', LONGEST.leases) === null; later.ms += 1_000)
    bytes += LONGEST.leases;
  assert.ok(bytes < 6 * LONGEST.leases + 1024 * 1024, `${bytes} bytes`);
});

test('a configuration makes messages longer, and never shorter', () => {
  const { budget: one } = budget();
  one.widen({ ...LONGEST, leases: LONGEST.leases + 1, codesUsed: 1 });
  assert.equal(one.objection('leases', LONGEST.leases + 1), null);
  assert.equal(one.objection('codesUsed', LONGEST.codesUsed), null);
});
