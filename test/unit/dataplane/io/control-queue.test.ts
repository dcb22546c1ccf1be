import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ControlQueue } from '../../../../dataplane/io/control-queue.ts';
import { firstByteFor, Opcode } from '../../../../dataplane/protocol/opcode.ts';

/** A queue whose datagrams take `costMs` each to handle. Their second byte names them. */
function queueOf(costMs: number) {
  const handled: number[] = [];
  const turns: (() => void)[] = [];
  let now = 0;
  const queue = new ControlQueue({
    handle: (_wire, bytes) => {
      handled.push(bytes[1]);
      now += costMs;
    },
    now: () => now,
    schedule: (turn) => void turns.push(turn),
  });
  const push = (opcode: Opcode, name: number): void =>
    queue.push(new Uint8Array(64), Uint8Array.of(firstByteFor(opcode, 0), name));
  return { queue, handled, turns, push };
}

test('handles sessions that have begun before clients that ask, of whom one has its turn every 50 ms', () => {
  const { queue, handled, turns, push } = queueOf(10);
  for (const name of [1, 2, 3]) push(Opcode.HardResetClientV2, name);
  for (const name of [11, 12, 13, 14, 15, 16]) push(Opcode.ControlV1, name);
  queue.turn();
  while (turns.length > 0) turns.shift()?.();
  assert.deepEqual(handled, [1, 11, 12, 13, 14, 2, 15, 16, 3]);
});

test('handles all at once that fits its time', () => {
  const { queue, handled, turns, push } = queueOf(0.1);
  push(Opcode.ControlV1, 11);
  push(Opcode.HardResetClientV3, 1);
  push(Opcode.AckV1, 12);
  push(Opcode.HardResetClientV2, 2);
  queue.turn();
  assert.deepEqual(handled, [1, 11, 12, 2]);
  assert.equal(turns.length, 0);
});

test('asks for one more turn, however often it is called meanwhile', () => {
  const { queue, turns, push } = queueOf(100);
  for (const name of [1, 2, 3, 4]) push(Opcode.ControlV1, name);
  queue.turn();
  queue.turn();
  assert.equal(turns.length, 1);
});

test('drops what finds its lane full, and counts it; the other lane goes on', () => {
  const { queue, handled, turns, push } = queueOf(0);
  for (let sent = 0; sent < 4_140; sent += 1) push(Opcode.HardResetClientV2, 1);
  assert.equal(queue.dropped, 44);
  for (let sent = 0; sent < 1_024; sent += 1) push(Opcode.ControlV1, 11);
  assert.equal(queue.dropped, 44);
  push(Opcode.ControlV1, 11);
  assert.equal(queue.dropped, 45);
  queue.turn();
  assert.equal(handled.length, 4_096 + 1_024);
  assert.equal(turns.length, 0);
  push(Opcode.ControlV1, 12);
  queue.turn();
  assert.equal(handled.at(-1), 12);
});
