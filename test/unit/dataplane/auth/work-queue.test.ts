import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { WorkQueue } from '../../../../dataplane/auth/work-queue.ts';

const never = new AbortController().signal;

suite('Work queue', () => {
  test('runs a few at a time, familiar callers first, and says no to the rest', async () => {
    const queue = new WorkQueue({ concurrency: 1, capacity: 2 });
    const order: string[] = [];
    const gate = Promise.withResolvers<void>();
    const job = (name: string) => async (): Promise<string> => {
      order.push(name);
      await gate.promise;
      return name;
    };
    const first = queue.run('stranger', job('first'), never);
    const strangers = [queue.run('stranger', job('s1'), never), queue.run('stranger', job('s2'), never)];
    const refused = await queue.run('stranger', job('s3'), never);
    const familiar = queue.run('familiar', job('f1'), never);
    assert.equal(refused, null);
    assert.equal(queue.waiting, 3);
    gate.resolve();
    await Promise.all([first, ...strangers, familiar]);
    assert.deepEqual(order, ['first', 'f1', 's1', 's2']);
    assert.deepEqual(await queue.run('stranger', job('again'), never), { value: 'again' });
  });

  test('one who leaves gives the place back, and a failed job too', async () => {
    const queue = new WorkQueue({ concurrency: 1, capacity: 1 });
    const gate = Promise.withResolvers<void>();
    const running = queue.run('stranger', () => gate.promise, never);
    const leaver = new AbortController();
    const left = assert.rejects(
      queue.run('stranger', async () => 1, leaver.signal),
      /AbortError|aborted/,
    );
    leaver.abort();
    await left;
    const next = queue.run('stranger', () => Promise.reject(new TypeError('broken')), never);
    gate.resolve();
    await running;
    await assert.rejects(next, TypeError);
    assert.deepEqual(await queue.run('stranger', async () => 2, never), { value: 2 });
  });
});
