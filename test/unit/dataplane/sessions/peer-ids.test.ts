import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PeerIds } from '../../../../dataplane/sessions/peer-ids.ts';

test('spreads UDP peers over the threads by the low bits', () => {
  const ids = new PeerIds(4, 64);
  assert.deepEqual(
    Array.from({ length: 8 }, () => ids.take(null, 0)),
    [0, 1, 2, 3, 4, 5, 6, 7],
  );
});

test('gives a TCP peer to the thread that owns its stream', () => {
  const ids = new PeerIds(4, 64);
  assert.deepEqual([ids.take(0x1203, 0), ids.take(0x1303, 0), ids.take(0x1302, 0)], [3, 7, 2]);
});

test('lets an id rest for a minute', () => {
  const ids = new PeerIds(1, 64);
  const first = ids.take(null, 0) ?? -1;
  ids.free(first, 1_000);
  assert.equal(ids.take(null, 60_999), 1);
  assert.equal(ids.take(null, 61_000), first);
});

test('many ids come and go without holes or repeats', () => {
  const ids = new PeerIds(2, 4_096);
  const live = new Set<number>();
  for (let step = 0; step < 10_000; step += 1) {
    const id = ids.take(null, step * 100);
    assert.ok(id !== undefined && !live.has(id));
    live.add(id);
    const [oldest] = live;
    if (live.size > 50) {
      live.delete(oldest);
      ids.free(oldest, step * 100);
    }
  }
  assert.ok(Math.max(...live) < 1_500);
});

test('who comes and goes without end uses up no ids: the one that has rested longest is next', () => {
  const ids = new PeerIds(1, 3);
  const taken = [0, 1, 2].map((now) => ids.take(null, now));
  assert.deepEqual(taken, [0, 1, 2]);
  assert.equal(ids.take(null, 3), undefined, 'all are in use');
  for (const id of [1, 0, 2]) ids.free(id, 10);
  assert.deepEqual([ids.take(null, 11), ids.take(null, 12), ids.take(null, 13)], [1, 0, 2]);
});
