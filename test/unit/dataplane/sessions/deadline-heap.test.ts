import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeadlineHeap } from '../../../../dataplane/sessions/deadline-heap.ts';
import { randomFrom, seeded } from '../../../support/seed.ts';

test('gives entries out in the order of their deadlines, and none before its time', () => {
  const heap = new DeadlineHeap<string>();
  heap.set('late', 30);
  heap.set('early', 10);
  heap.set('moved', 5);
  heap.set('moved', 20);
  heap.set('gone', 1);
  heap.set('gone', undefined);
  heap.set('never', Infinity);
  assert.equal(heap.earliest(), 10);
  assert.equal(heap.takeDue(9), undefined);
  assert.deepEqual(
    [heap.takeDue(100), heap.takeDue(100), heap.takeDue(100), heap.takeDue(100)],
    ['early', 'moved', 'late', undefined],
  );
});

test('agrees with a sorted list about random changes', (context) => {
  const random = randomFrom(seeded(context).seed);
  const heap = new DeadlineHeap<number>();
  const twin = new Map<number, number>();
  for (let step = 0; step < 20_000; step += 1) {
    const entry = Math.floor(random() * 200);
    const choice = random();
    if (choice < 0.6) {
      const at = Math.floor(random() * 1000);
      heap.set(entry, at);
      twin.set(entry, at);
    } else if (choice < 0.8) {
      heap.delete(entry);
      twin.delete(entry);
    } else {
      const due = heap.takeDue(500);
      const earliest = twin.size === 0 ? Infinity : Math.min(...twin.values());
      assert.equal(due === undefined, earliest > 500);
      if (due !== undefined) {
        assert.equal(twin.get(due), earliest);
        twin.delete(due);
      }
    }
    assert.equal(heap.earliest(), twin.size === 0 ? undefined : Math.min(...twin.values()));
    assert.equal(heap.size, twin.size);
  }
});
