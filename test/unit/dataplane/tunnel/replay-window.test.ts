import assert from 'node:assert/strict';
import { test } from 'node:test';
import { REPLAY_WINDOW, ReplayOutcome, ReplayWindows } from '../../../../dataplane/tunnel/replay-window.ts';
import { NaiveReplayWindow } from '../../../support/replay-twin.ts';
import { randomFrom, SEED, seeded } from '../../../support/seed.ts';

const { Newest, Late, Replayed, TooOld } = ReplayOutcome;
const NAMES = { [Newest]: 'fresh', [Late]: 'fresh', [Replayed]: 'replayed', [TooOld]: 'old' };

function fresh(): (id: number, second?: number, epoch?: number) => ReplayOutcome {
  const windows = new ReplayWindows(3);
  return (id, second = 100, epoch = 0) => windows.accept(1, epoch, id, second);
}

test('[P65] duplicates and ids below the window are refused, a hole in it is filled once', () => {
  const accept = fresh();
  assert.equal(accept(1), Newest);
  assert.equal(accept(1), Replayed);
  assert.equal(accept(100), Newest);
  assert.equal(accept(100 - 63), Late);
  assert.equal(accept(100 - 63), Replayed);
  assert.equal(accept(100 + REPLAY_WINDOW), Newest);
  assert.equal(accept(100), TooOld);
  assert.equal(accept(101), Late);
});

test('[P66] an unseen id that was overtaken more than 15 s ago is refused', () => {
  for (const [laterBy, expected] of [
    [0, Late],
    [10, Late],
    [14, Late],
    [16, TooOld],
    [17, TooOld],
    [40, TooOld],
    [4000, TooOld],
  ] as const) {
    const accept = fresh();
    accept(1, 100);
    accept(10, 100);
    assert.equal(accept(5, 100 + laterBy), expected, `${laterBy} s`);
    const busy = fresh();
    busy(10, 100);
    for (let second = 101; second <= 100 + Math.min(laterBy, 50); second++) busy(second - 80, second);
    assert.equal(busy(5, 100 + laterBy), expected, `${laterBy} s with packets in between`);
  }
});

test('the newest id is accepted after any silence', () => {
  const accept = fresh();
  accept(1, 100);
  assert.equal(accept(2, 100_000), Newest);
  assert.equal(accept(2, 100_000), Replayed);
});

test('a jump far beyond the window leaves nothing behind', () => {
  const accept = fresh();
  for (let id = 1; id <= 2000; id++) assert.equal(accept(id), Newest);
  assert.equal(accept(0xfffffffe), Newest);
  for (let id = 1; id <= 2000; id++) assert.equal(accept(id), TooOld);
  assert.equal(accept(0xfffffffe - 500), Late);
});

test('each epoch starts anew, and an earlier one never returns to its window', () => {
  const accept = fresh();
  assert.equal(accept(2 ** 47, 100, 1), Newest);
  assert.equal(accept(1, 100, 3), Newest);
  assert.equal(accept(1, 100, 3), Replayed);
  assert.equal(accept(2 ** 47 + 1, 100, 1), TooOld);
});

test('windows do not touch their neighbours', () => {
  const windows = new ReplayWindows(3);
  windows.accept(0, 0, 5000, 1);
  windows.accept(2, 0, 5000, 1);
  assert.equal(windows.accept(1, 0, 1, 1), Newest);
  windows.reset(1, 0);
  assert.equal(windows.accept(0, 0, 5000, 1), Replayed);
});

test('agrees with a window that remembers everything', (context) => {
  seeded(context);
  const random = randomFrom(SEED);
  for (let round = 0; round < 60; round++) {
    const accept = fresh();
    const naive = new NaiveReplayWindow(REPLAY_WINDOW);
    // Across 31 and 32 bits, and near the end of an epoch's 48.
    let id = [1, 2 ** 31 - 900, 2 ** 32 - 900, 2 ** 48 - 70_000][round % 4];
    let second = 100;
    for (let packet = 0; packet < 2000; packet++) {
      const move = random();
      if (move < 0.01) id += Math.floor(random() * 3000);
      else id += move < 0.7 ? 1 : 0;
      if (random() < 0.02) second += Math.floor(random() * random() * 24);
      const behind = random() < 0.5 ? 0 : Math.floor(random() * random() * 1200);
      const one = Math.max(1, id - behind);
      const expected = naive.accept(one, second);
      const outcome = accept(one, second);
      // What the twin forgot for age it would also call old when seen: both refuse.
      const isRefused = expected !== 'fresh';
      assert.equal(
        NAMES[outcome] !== 'fresh',
        isRefused,
        `id ${one} at ${second}: ${NAMES[outcome]}, twin ${expected}`,
      );
    }
  }
});
