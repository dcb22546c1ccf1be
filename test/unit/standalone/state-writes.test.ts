import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { StateWrites } from '../../../standalone/state-writes.ts';

/** A disk of so many characters, and what the log says of it. */
class Disk {
  room = 100;
  readonly files = new Map<string, string>();
  readonly said: string[] = [];
  readonly writes: StateWrites;

  constructor(t: TestContext) {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const say = (detail: unknown, text?: string): void => void this.said.push(text ?? String(detail));
    this.writes = new StateWrites({ error: say, info: say });
  }

  attempt(file: string, text: string): void {
    this.writes.attempt(file, () => {
      if (text.length > this.room) throw new Error('no room');
      this.files.set(file, text);
    });
  }

  get content(): string {
    return [...this.files].map((entry) => entry.join(': ')).join(', ');
  }

  get trouble(): string | null {
    return this.writes.trouble;
  }
}

const FAILED = 'The state folder could not be written';
const OVER = 'The state folder can be written again';

test('what a full disk has owed is written once there is room, though nothing else is', (t) => {
  const disk = new Disk(t);
  disk.room = 0;
  disk.attempt('a', 'old');
  disk.attempt('b', 'longer');
  disk.attempt('a', 'new');
  t.mock.timers.tick(60_000);
  assert.deepEqual([disk.content, disk.trouble], ['', 'no room']);
  assert.deepEqual(disk.said, [FAILED], 'said once');

  disk.room = 3;
  t.mock.timers.tick(10_000);
  assert.deepEqual([disk.content, disk.trouble], ['a: new', 'no room']);
  disk.room = 100;
  t.mock.timers.tick(9_999);
  assert.equal(disk.content, 'a: new');
  t.mock.timers.tick(1);
  assert.deepEqual([disk.content, disk.trouble], ['a: new, b: longer', null]);
  assert.deepEqual(disk.said, [FAILED, OVER]);

  disk.files.clear();
  t.mock.timers.tick(60_000);
  assert.equal(disk.content, '', 'nothing is written twice');
});

test('a write that succeeds takes along what is owed', (t) => {
  const disk = new Disk(t);
  disk.room = 0;
  disk.attempt('a', 'owed');
  disk.room = 100;
  disk.attempt('b', 'news');
  assert.deepEqual([disk.content, disk.said], ['b: news, a: owed', [FAILED, OVER]]);
});

test('a close tries what is owed, and is the last to do so', (t) => {
  for (const [room, content] of [
    [100, 'a: owed'],
    [0, ''],
  ] as const) {
    const disk = new Disk(t);
    disk.room = 0;
    disk.attempt('a', 'owed');
    disk.room = room;
    disk.writes.close();
    assert.equal(disk.content, content);
    disk.room = 100;
    t.mock.timers.tick(60_000);
    assert.equal(disk.content, content);
    t.mock.timers.reset();
  }
});
