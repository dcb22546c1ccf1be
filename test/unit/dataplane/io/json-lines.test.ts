import assert from 'node:assert/strict';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { readJsonLines } from '../../../../dataplane/io/json-lines.ts';
import { InternalError, ProtocolError } from '../../../../net/errors.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
const MIB = 1024 * 1024;

/** By what lives, without garbage. */
function usedBytes(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function failureOf(text: string, onValue: (value: unknown) => void = () => undefined): Promise<Error> {
  const stream = new PassThrough();
  readJsonLines(stream, 16, onValue);
  const failed = once(stream, 'error');
  stream.write(text);
  return ((await failed) as [Error])[0];
}

test('lines come whole, however they are cut', async () => {
  const stream = new PassThrough();
  const values: unknown[] = [];
  readJsonLines(stream, 16, (value) => values.push(value));
  for (const piece of ['{"a', '":1}\n[2]\n', '3', '\n']) stream.write(piece);
  stream.end();
  await once(stream, 'end');
  assert.deepEqual(values, [{ a: 1 }, [2], 3]);
});

test('how long a line may be can depend on how it begins, and its length in bytes is told', async () => {
  const stream = new PassThrough();
  const lengths: number[] = [];
  const heads = new Set<string>();
  const most = (head: string): number => {
    heads.add(head);
    return head.startsWith('"') ? 8 : 100;
  };
  readJsonLines(stream, most, (_, bytes) => lengths.push(bytes));
  for (const piece of ['"é', '"\n[1', ',2]\n', `[${' '.repeat(80)}`, ']\n', '"12345678']) stream.write(piece);
  assert.match(String((await once(stream, 'error'))[0]), /longer than 8 bytes/);
  assert.deepEqual(lengths, [4, 5, 82]);
  assert.ok([...heads].every((head) => head !== '' && head.length <= 64));
});

test('a line that comes byte by byte takes no more memory than its length', async () => {
  const stream = new PassThrough();
  readJsonLines(stream, MIB, () => undefined);
  const before = usedBytes();
  for (let sent = 0; sent < MIB; sent += 1) stream.emit('data', Buffer.from('x'));
  const grown = usedBytes() - before;
  assert.ok(grown < 8 * MIB, `${grown} bytes`);
  stream.emit('data', Buffer.from('x'));
  assert.match(String((await once(stream, 'error'))[0]), /longer than 1048576 bytes/);
});

test('what a receiver throws ends the stream with its words', async () => {
  const failure = await failureOf('1\n', () => {
    throw new TypeError('no such field');
  });
  assert.ok(failure instanceof InternalError);
  assert.match(failure.message, /no such field/);
});

test('a line that is not JSON or too long ends the stream; it is not quoted', async () => {
  const secret = await failureOf('"hunter2" x\n');
  assert.ok(secret instanceof ProtocolError);
  assert.doesNotMatch(`${secret.message} ${String(secret.cause)}`, /hunter2/);
  assert.match((await failureOf('x'.repeat(17))).message, /longer than 16 bytes/);
});
