import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WakePacing } from '../../../../dataplane/tunnel/wake-pacing.ts';

/** The pause after a second of turns, each of so many packets and reads and so many microseconds after the last. */
function settled(packets: number, turnUs: number, reads = 0): number {
  const pacing = new WakePacing();
  let pause = 0;
  for (let us = 0; us < 1_000_000; us += turnUs) pause = pacing.pauseAfter(packets, reads, us / 1000);
  return pause;
}

test('looks away when packets come one by one and fast, as acknowledgements of a stream do', () => {
  assert.ok(settled(1, 100) >= 150);
  assert.ok(settled(1, 20) >= 150);
  assert.ok(settled(2, 40) >= 150);
});

test('waits for no one when little comes', () => {
  assert.equal(settled(1, 1_000_000), 0);
  assert.equal(settled(1, 10_000), 0); // pings beside nothing
  assert.equal(settled(1, 150), 0); // a fast conversation, one packet at a time
  assert.equal(new WakePacing().pauseAfter(1, 0, 12_345), 0);
});

test('waits for no one when batches are large already', () => {
  assert.equal(settled(64, 500), 0);
  assert.equal(settled(0, 10), 0);
  assert.equal(settled(4, 200, 64), 0); // a full queue for clients beside acknowledgements, or a stranger's garbage
});

test('ends a pause before a socket of the default size is full', () => {
  for (const turnUs of [1, 2, 3, 5, 8, 13, 21]) {
    const perUs = 1 / turnUs;
    assert.ok(settled(1, turnUs) * perUs <= 24, `a packet every ${turnUs} µs`);
  }
});

test('forgets a flow within milliseconds of its end', () => {
  const pacing = new WakePacing();
  for (let us = 0; us < 100_000; us += 20) pacing.pauseAfter(1, 0, us / 1000);
  assert.equal(pacing.pauseAfter(1, 0, 110), 0);
});
