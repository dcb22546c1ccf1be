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

test('lets 200 openings through in 10 ms and counts the rest', () => {
  const gate = new ResetGate();
  assert.equal(admitted(gate, 150, 1_000), 150);
  assert.equal(admitted(gate, 150, 1_009.9), 50);
  assert.equal(gate.refused, 100);
  assert.equal(admitted(gate, 150, 1_010), 150);
});

test('wrapped client keys open sessions too', () => {
  const gate = new ResetGate();
  assert.equal(admitted(gate, 500, 0, firstByteFor(Opcode.HardResetClientV3, 0)), 200);
});

test('packets of sessions, data and garbage are not its business', () => {
  const gate = new ResetGate();
  admitted(gate, 1_000, 0);
  for (const opcode of [Opcode.ControlV1, Opcode.AckV1, Opcode.SoftResetV1, Opcode.DataV1])
    assert.equal(admitted(gate, 1_000, 0, firstByteFor(opcode, 0)), 1_000);
  assert.ok(gate.admits(undefined, 0));
});
