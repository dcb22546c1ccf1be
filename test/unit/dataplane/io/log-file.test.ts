import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LogFile } from '../../../../dataplane/io/log-file.ts';

/** What a disk with room for so many bytes has of the lines, and how many of each call it lost. */
function written(calls: readonly { readonly lines: string; readonly room: number }[]) {
  let [text, room] = ['', 0];
  const file = new LogFile((bytes) => {
    const taken = Math.min(room, bytes.length);
    if (taken === 0) throw new RangeError('ENOSPC');
    text += Buffer.from(bytes.subarray(0, taken)).toString('utf8');
    room -= taken;
    return taken;
  });
  const lost = calls.map((call) => {
    room = call.room;
    return file.append(call.lines);
  });
  return { text, lost };
}

test('lines are written whole, however little a write takes', () => {
  const taken: number[] = [];
  const file = new LogFile((bytes) => {
    taken.push(...bytes.subarray(0, 1));
    return 1;
  });
  assert.equal(file.append('one\ntwo\n'), 0);
  assert.equal(Buffer.from(taken).toString('utf8'), 'one\ntwo\n');
});

test('of lines that find no room those that did not fit are counted', () => {
  assert.deepEqual(written([{ lines: 'one\ntwo\nthree\n', room: 8 }]), { text: 'one\ntwo\n', lost: [1] });
  assert.deepEqual(written([{ lines: 'one\ntwo\n', room: 0 }]), { text: '', lost: [2] });
});

test('a line that was torn stands alone', () => {
  const calls = [
    { lines: 'one\ntwo\n', room: 6 },
    { lines: 'three\n', room: 0 },
    { lines: 'four\n', room: 1 },
    { lines: 'five\n', room: 100 },
  ];
  assert.deepEqual(written(calls), { text: 'one\ntw\nfive\n', lost: [1, 1, 1, 0] });
});
