import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { loadAddon } from '../../../../dataplane/io/load-addon.ts';
import { countingBytes } from '../../../support/hex.ts';
import { NativeBatch } from '../../../support/native-batch.ts';

const addon = loadAddon();
const ECONNRESET = 104;
const PROGRAM = join(import.meta.dirname, '..', '..', '..', 'support', 'native-worker.ts');

test('workers have their own batches and counters and share the keys; ending one closes its watch', async () => {
  const secret = countingBytes(16);
  const iv = countingBytes(8);
  const half = { encryptKey: secret, encryptIv: iv, decryptKey: secret, decryptIv: iv };
  const key = addon.keyInstall({ cipher: 'AES-128-GCM', epochFormat: false, ...half });
  const batch = new NativeBatch(addon, { capacity: 1, bytes: 1024, rows: 1 });
  const sealCalls = addon.counters()['sealCalls'];
  for (let expectedId = 1; expectedId <= 4; expectedId++) {
    const event = addon.eventCreate();
    const worker = new Worker(PROGRAM, { workerData: { key, event } });
    assert.deepEqual(await once(worker, 'message'), ['watching']);
    const answer = once(worker, 'message');
    addon.eventSignal(event);
    const [{ sealed, sealCalls: calls }] = (await answer) as [{ sealed: Uint8Array; sealCalls: number }];
    assert.equal(calls, 1);
    batch.lay([sealed]);
    batch.arrays.key[0] = key;
    assert.equal(addon.open(batch.handle, 1), 1);
    assert.equal(batch.arrays.packetId[0], expectedId);
    await worker.terminate();
    addon.close(event);
  }
  assert.equal(addon.counters()['sealCalls'], sealCalls);
});

test('a watch calls back until it is stopped, and stopping twice is harmless', async () => {
  const event = addon.eventCreate();
  let calls = 0;
  const stop = await new Promise<() => void>((resolve) => {
    const stopWatching = addon.watchReadable(event, () => {
      calls++;
      if (calls === 3) {
        stopWatching();
        resolve(stopWatching);
      }
    });
    addon.eventSignal(event);
  });
  stop();
  await new Promise(setImmediate);
  assert.equal(calls, 3, 'level-triggered, and silent after the end');
  assert.throws(() => addon.watchReadable(1_000_000, () => undefined), { code: 'EBADF' });
  addon.close(event);
});

test('what a watch throws is an uncaught exception', async () => {
  const event = addon.eventCreate();
  const caught = new Promise((resolve) => process.setUncaughtExceptionCaptureCallback(resolve));
  const stop = addon.watchReadable(event, () => {
    stop();
    throw new RangeError('from a watch');
  });
  addon.eventSignal(event);
  assert.match(String(await caught), /from a watch/);
  process.setUncaughtExceptionCaptureCallback(null);
  addon.close(event);
});

test('counters are read whole, and the clock is the one of all threads', () => {
  const names = addon.counterNames();
  const values = new Float64Array(names.length);
  addon.countersInto(values);
  assert.deepEqual(addon.counters(), Object.fromEntries(names.map((name, index) => [name, values[index]])));
  assert.throws(() => addon.countersInto(new Float64Array(names.length - 1)), RangeError);
  const milliseconds = (): number => Number(process.hrtime.bigint()) / 1e6;
  const times = [milliseconds() - 1, addon.monotonicMs(), milliseconds() + 1];
  assert.deepEqual(
    times.toSorted((a, b) => a - b),
    times,
  );
});

test('a descriptor is watched on after an error of it', async () => {
  const listener = addon.tcpListen({ address: '127.0.0.1', port: 0 });
  const client = connect(listener.port, '127.0.0.1');
  await once(client, 'connect');
  const server = addon.tcpAccept(listener.fd, new Uint8Array(64));
  const read: number[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const stop = addon.watchReadable(server, () => {
    read.push(addon.tcpReceive(server, new Uint8Array(8), 0, 8));
    if (read.length === 2) resolve();
  });
  client.resetAndDestroy();
  const killer = setTimeout(resolve, 10_000);
  await promise;
  clearTimeout(killer);
  stop();
  assert.deepEqual(read.slice(0, 2), [-ECONNRESET, 0], 'the error, then the end');
  for (const fd of [server, listener.fd]) addon.close(fd);
});
