import assert from 'node:assert/strict';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { readJsonLines } from '../../../../dataplane/io/json-lines.ts';
import { InternalError, ProtocolError } from '../../../../net/errors.ts';

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
