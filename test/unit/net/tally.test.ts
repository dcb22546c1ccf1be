import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Tally } from '../../../net/tally.ts';

test('counts up and down, and keeps no name that counts nothing', () => {
  const tally = new Tally();
  for (const name of ['a', 'b', 'a']) tally.add(name);
  assert.deepEqual([tally.of('a'), tally.of('b'), tally.of('c'), tally.names], [2, 1, 0, 2]);
  for (const name of ['a', 'b', 'a']) tally.remove(name);
  assert.deepEqual([tally.of('a'), tally.of('b'), tally.names], [0, 0, 0]);
});
