import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DATA_FRAMES_MAX, TcpSendQueue } from '../../../../dataplane/io/tcp-send-queue.ts';
import { randomFrom, SEED, seeded } from '../../../support/seed.ts';

/** A socket that takes what it is told to take. */
class Sink {
  readonly bytes: number[] = [];
  room = 0;
  readonly write = (bytes: Uint8Array, offset: number, length: number): number => {
    const taken = Math.min(this.room, length);
    for (let i = 0; i < taken; i++) this.bytes.push(bytes[offset + i]);
    this.room -= taken;
    return taken;
  };
}

function data(...payload: readonly number[]): Uint8Array {
  return Uint8Array.from([payload.length >> 8, payload.length & 255, ...payload]);
}

function push(queue: TcpSendQueue, frame: Uint8Array): boolean {
  return queue.pushData(frame, 0, frame.length);
}

test('control overtakes data, but not the frame that has begun to leave', () => {
  const queue = new TcpSendQueue(16);
  const sink = new Sink();
  push(queue, data(1, 1, 1));
  push(queue, data(2, 2));
  sink.room = 3;
  assert.equal(queue.drain(sink.write), 'blocked');
  queue.pushControl(Uint8Array.of(9));
  sink.room = 100;
  assert.equal(queue.drain(sink.write), 'empty');
  assert.deepEqual(sink.bytes, [0, 3, 1, 1, 1, 0, 1, 9, 0, 2, 2, 2]);
  assert.equal(queue.isEmpty, true);
});

test('data is refused at 64 frames, control never', () => {
  const queue = new TcpSendQueue(16);
  for (let i = 0; i < DATA_FRAMES_MAX; i++) assert.equal(push(queue, data(i)), true);
  assert.equal(push(queue, data(1)), false);
  queue.pushControl(new Uint8Array(10));
  assert.equal(queue.unsentBytes, DATA_FRAMES_MAX * 3 + 12);
});

test('a dead socket is reported', () => {
  const queue = new TcpSendQueue(16);
  push(queue, data(1));
  assert.equal(
    queue.drain(() => -1),
    'failed',
  );
});

test('whatever the socket takes at a time, frames leave whole and in the order of their kind', (context) => {
  seeded(context);
  const random = randomFrom(SEED);
  for (let round = 0; round < 200; round++) {
    const queue = new TcpSendQueue(64);
    const sink = new Sink();
    const sent: Record<'c' | 'd', number[]> = { c: [], d: [] };
    let next = 0;
    for (let step = 0; step < 300; step++) {
      const choice = random();
      const payload = [choice < 0.2 ? 0xc0 : 0xd0, next & 255, ...Array(Math.floor(random() * 50)).fill(7)];
      if (choice < 0.2) {
        queue.pushControl(Uint8Array.from(payload));
        sent.c.push(next++ & 255);
      } else if (choice < 0.6) {
        if (push(queue, data(...payload))) sent.d.push(next++ & 255);
      } else {
        sink.room = Math.floor(random() * 120);
        queue.drain(sink.write);
      }
    }
    sink.room = 1e9;
    assert.equal(queue.drain(sink.write), 'empty');
    const seen: Record<'c' | 'd', number[]> = { c: [], d: [] };
    for (let at = 0; at < sink.bytes.length;) {
      const length = (sink.bytes[at] << 8) | sink.bytes[at + 1];
      seen[sink.bytes[at + 2] === 0xc0 ? 'c' : 'd'].push(sink.bytes[at + 3]);
      at += 2 + length;
    }
    assert.deepEqual(seen, sent);
  }
});
