import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PacedWrite } from '../../../standalone/paced-write.ts';

test('a lone write is done at once, and what follows within the pause as one at its end', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let state = 0;
  const written: number[] = [];
  const paced = new PacedWrite(() => written.push(state));
  const done: number[] = [];
  const ask = (value: number): void => {
    state = value;
    void paced.ask().then(() => done.push(value));
  };
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  ask(1);
  assert.deepEqual(written, [1], 'before it returns');
  for (let value = 2; value <= 10_000; value += 1) ask(value);
  await turn();
  assert.deepEqual({ written, done }, { written: [1], done: [1] }, 'nobody is told before it is written');
  t.mock.timers.tick(99);
  assert.deepEqual(written, [1]);
  t.mock.timers.tick(1);
  await turn();
  assert.deepEqual(written, [1, 10_000]);
  assert.equal(done.length, 10_000);
  t.mock.timers.tick(100);
  assert.equal(written.length, 2, 'nothing new');
  ask(7);
  ask(8);
  paced.flush();
  paced.flush();
  assert.deepEqual(written.slice(2), [7, 8]);
});

test('after a write that took long there is a longer pause', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  let written = 0;
  const paced = new PacedWrite(() => {
    written += 1;
    now += 200;
  });
  void paced.ask();
  void paced.ask();
  t.mock.timers.tick(1_199);
  assert.equal(written, 1);
  t.mock.timers.tick(1);
  assert.equal(written, 2);
});
