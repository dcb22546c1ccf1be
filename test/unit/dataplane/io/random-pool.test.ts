import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RandomPool } from '../../../../dataplane/io/random-pool.ts';

test('gives as many bytes as were asked for, never the same twice, also beyond the end of a pool', () => {
  const pool = new RandomPool();
  const seen = new Set<string>();
  for (let draw = 0; draw < 1_000; draw += 1) {
    const bytes = pool.take(32);
    assert.equal(bytes.length, 32);
    seen.add(Buffer.from(bytes).toString('hex'));
  }
  assert.equal(seen.size, 1_000);
  const large = pool.take(10_000);
  assert.ok(large.length === 10_000 && large.subarray(9_000).some((byte) => byte !== 0));
});

test('what was given belongs to its holder', () => {
  const pool = new RandomPool();
  const first = pool.take(16);
  const before = first.slice();
  pool.take(4_096).fill(0);
  pool.take(16);
  assert.deepEqual(first, before);
  assert.notEqual(first.buffer, pool.take(16).buffer);
});
