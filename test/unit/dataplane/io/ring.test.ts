import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { ByteRing } from '../../../../dataplane/io/ring.ts';
import { RecordKind, RecordRing } from '../../../../dataplane/io/ring-record.ts';
import { randomFrom, SEED, seeded } from '../../../support/seed.ts';
import type { RingJob } from '../../../support/ring-producer.ts';

const PRODUCER = join(import.meta.dirname, '..', '..', '..', 'support', 'ring-producer.ts');

function write(ring: ByteRing, ...bytes: readonly number[]): boolean {
  const at = ring.reserve(bytes.length);
  if (at < 0) return false;
  ring.bytes.set(bytes, at);
  ring.publish();
  return true;
}

function read(ring: ByteRing): number[] | undefined {
  const at = ring.peek();
  if (at < 0) return undefined;
  const bytes = [...ring.bytes.subarray(at, at + ring.recordBytes)];
  ring.release();
  return bytes;
}

test('gives back records in order, and says when there is none', () => {
  const ring = new ByteRing(ByteRing.shared(256));
  assert.equal(ring.isEmpty(), true);
  write(ring, 1, 2, 3);
  write(ring);
  assert.deepEqual([read(ring), read(ring), read(ring)], [[1, 2, 3], [], undefined]);
});

test('refuses what does not fit and takes it once there is room', () => {
  const ring = new ByteRing(ByteRing.shared(64));
  const long = Array.from({ length: 24 }, (_, i) => i);
  assert.deepEqual([write(ring, ...long), write(ring, ...long), write(ring)], [true, true, false]);
  read(ring);
  assert.equal(write(ring, 9), true);
  assert.deepEqual([read(ring), read(ring), read(ring)], [long, [9], undefined]);
});

test('a record that would run over the end begins at the start', () => {
  const ring = new ByteRing(ByteRing.shared(64));
  for (let round = 0; round < 100; round++) {
    const bytes = Array.from({ length: (round * 7) % 25 }, (_, i) => (i + round) & 255);
    assert.equal(write(ring, ...bytes), true);
    assert.deepEqual(read(ring), bytes);
  }
});

test('a record larger than the ring never fits', () => {
  const ring = new ByteRing(ByteRing.shared(64));
  assert.equal(ring.reserve(64), -1);
  assert.equal(ring.isEmpty(), true);
});

test('agrees with an array, whatever the order of reads and writes', (context) => {
  seeded(context);
  const random = randomFrom(SEED);
  const ring = new ByteRing(ByteRing.shared(1024));
  const twin: number[][] = [];
  for (let step = 0; step < 50_000; step++) {
    if (random() < 0.55) {
      const bytes = Array.from({ length: Math.floor(random() * 200) }, () => Math.floor(random() * 256));
      if (write(ring, ...bytes)) twin.push(bytes);
      else assert.ok(twin.length > 0);
    } else {
      assert.deepEqual(read(ring), twin.shift());
    }
  }
});

test('another thread fills it while this one empties it', async (context) => {
  const shared = ByteRing.shared(4096);
  const job: RingJob = { shared, records: 200_000, longest: 300, ...seeded(context) };
  const worker = new Worker(PRODUCER, { workerData: job });
  const ended = new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject));
  const ring = new ByteRing(shared);
  const random = randomFrom(job.seed);
  for (let record = 0; record < job.records; record++) {
    const length = Math.floor(random() * (job.longest + 1));
    let at = ring.peek();
    while (at < 0) at = ring.peek();
    assert.equal(ring.recordBytes, length, `record ${record}`);
    for (let i = 0; i < length; i++)
      if (ring.bytes[at + i] !== ((record + i) & 255)) assert.fail(`record ${record} byte ${i}`);
    ring.release();
  }
  await ended;
  assert.equal(ring.isEmpty(), true);
});

test('a record carries its head and payload', () => {
  const ring = new RecordRing(new ByteRing(ByteRing.shared(1024)));
  const remotes = Int32Array.from({ length: 32 }, (_, i) => i * 0x01010101);
  assert.equal(ring.begin(RecordKind.Floated, 3), true);
  ring.setPeer(16_777_214, 7, 3);
  ring.setConnection(2 ** 40 + 5);
  ring.setRemote(remotes, 1);
  ring.setPayload(Uint8Array.of(0, 8, 9, 10), 1, 3);
  ring.ring.publish();
  assert.equal(ring.next(), RecordKind.Floated);
  assert.deepEqual([ring.peer, ring.generation, ring.keyId, ring.connection], [16_777_214, 7, 3, 2 ** 40 + 5]);
  assert.deepEqual(new Int32Array(ring.copyRemote().buffer), remotes.slice(16));
  assert.deepEqual(ring.copyPayload(), Uint8Array.of(8, 9, 10));
  ring.ring.release();
  assert.equal(ring.next(), 0);
});
