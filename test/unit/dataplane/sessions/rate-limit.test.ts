import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NetworkLimit, TokenBucket } from '../../../../dataplane/sessions/rate-limit.ts';

test('a bucket gives its burst at once and its rate from then on', () => {
  const bucket = new TokenBucket(10, 50);
  const taken = (now: number): number => Array.from({ length: 100 }, () => bucket.take(now)).filter(Boolean).length;
  assert.deepEqual([taken(0), taken(0), taken(1_000), taken(1_100), taken(600_000)], [50, 0, 10, 1, 50]);
});

test('a clock that steps back gives nothing away', () => {
  const bucket = new TokenBucket(1, 1);
  assert.equal(bucket.take(10_000), true);
  assert.equal(bucket.take(5_000), false);
  assert.equal(bucket.take(5_500), false);
});

test('answers each network ten times a second, and forgets it with the second', () => {
  const limit = new NetworkLimit(10, 1_000, 42);
  const answered = (address: string, now: number): number =>
    Array.from({ length: 50 }, () => limit.take(address, now)).filter(Boolean).length;
  assert.deepEqual(
    [answered('192.0.2.1', 0), answered('192.0.2.200', 500), answered('198.51.100.1', 500)],
    [10, 0, 10],
  );
  assert.equal(answered('192.0.2.1', 1_000), 10);
});

test('gives an answer back to the network whose client came through', () => {
  const limit = new NetworkLimit(1, 1_000, 42);
  assert.equal(limit.take('192.0.2.1', 0), true);
  assert.equal(limit.take('192.0.2.1', 0), false);
  limit.refund('192.0.2.1', 0);
  assert.equal(limit.take('192.0.2.1', 0), true);
});

test('a crowd whose clients come through is answered beyond the number in all', () => {
  const limit = new NetworkLimit(10, 3, 42);
  for (let client = 0; client < 20; client += 1) {
    assert.equal(limit.take('192.0.2.1', 0), true);
    limit.refund('192.0.2.1', 0);
  }
});

test('answers a bounded number in all', () => {
  const limit = new NetworkLimit(10, 100, 42);
  let answered = 0;
  for (let index = 0; index < 1_000; index += 1) if (limit.take(`10.${index >> 8}.${index & 255}.1`, 0)) answered += 1;
  assert.equal(answered, 100);
});
