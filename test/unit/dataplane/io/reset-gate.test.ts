import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ResetGate } from '../../../../dataplane/io/reset-gate.ts';
import { firstByteFor, Opcode } from '../../../../dataplane/protocol/opcode.ts';

const RESET = firstByteFor(Opcode.HardResetClientV2, 0);

function admitted(gate: ResetGate, count: number, nowMs: number, firstByte: number | undefined = RESET): number {
  let passed = 0;
  for (let sent = 0; sent < count; sent += 1) if (gate.admits(firstByte, nowMs)) passed += 1;
  return passed;
}

test('lets a crowd of 4,000 openings through at once, then 20 each millisecond, and counts the rest', () => {
  const gate = new ResetGate();
  assert.equal(admitted(gate, 5_000, 1_000), 4_000);
  assert.equal(gate.refused, 1_000);
  assert.equal(admitted(gate, 100, 1_001), 20);
  assert.equal(admitted(gate, 100, 1_003.5), 50);
  assert.equal(gate.refused, 1_130);
});

test('a second of a flood brings 20,000 more than the crowd, spread over it', () => {
  const gate = new ResetGate();
  admitted(gate, 4_000, 0);
  for (let ms = 1; ms <= 1_000; ms += 1) assert.equal(admitted(gate, 150, ms), 20);
});

test('is ready for the next crowd after a pause, and for no larger one after a longer pause', () => {
  const gate = new ResetGate();
  admitted(gate, 4_000, 0);
  assert.equal(admitted(gate, 5_000, 200), 4_000);
  assert.equal(admitted(gate, 5_000, 1e9), 4_000);
});

test('wrapped client keys open sessions too', () => {
  const gate = new ResetGate();
  assert.equal(admitted(gate, 5_000, 0, firstByteFor(Opcode.HardResetClientV3, 0)), 4_000);
});

test('packets of sessions, data and garbage are not its business', () => {
  const gate = new ResetGate();
  admitted(gate, 5_000, 0);
  for (const opcode of [Opcode.ControlV1, Opcode.AckV1, Opcode.SoftResetV1, Opcode.DataV1])
    assert.equal(admitted(gate, 1_000, 0, firstByteFor(opcode, 0)), 1_000);
  assert.ok(gate.admits(undefined, 0));
});
