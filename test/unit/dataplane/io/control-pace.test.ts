import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ControlPace } from '../../../../dataplane/io/control-pace.ts';

test('a login’s worth of frames passes at once', () => {
  const pace = new ControlPace();
  for (let frames = 0; frames < 120; frames += 6) assert.equal(pace.pauseAfter(6, 0), 0);
});

test('a long assertion takes its pauses and is through within two seconds', () => {
  const pace = new ControlPace();
  let now = 0;
  for (let frames = 0; frames < 260; frames += 4) now += pace.pauseAfter(4, now);
  assert.ok(now > 500 && now < 2_000, `${now} ms`);
});

test('who never stops gets 128 frames a second, however they come', () => {
  for (const frames of [1, 10, 60]) {
    const pace = new ControlPace();
    let now = 0;
    let handed = 0;
    while (now < 60_000) {
      handed += frames;
      now += Math.max(1, pace.pauseAfter(frames, now));
    }
    assert.ok(handed <= 128 + 128 * 61, `${handed} frames of ${frames} in a minute`);
  }
});

test('silence saves up no more than one burst', () => {
  const pace = new ControlPace();
  assert.equal(pace.pauseAfter(128, 3_600_000), 0);
  assert.ok(pace.pauseAfter(64, 3_600_000) > 0);
});

test('data alone never pauses', () => {
  const pace = new ControlPace();
  assert.ok(pace.pauseAfter(192, 0) > 0);
  assert.equal(pace.pauseAfter(0, 0), 0);
});
