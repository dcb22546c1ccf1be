// Loads the addon in a worker, uses a key of the main thread and watches a descriptor until it is ended from outside.
// oxlint-disable unicorn/require-post-message-target-origin -- a worker's port has no origin
import { parentPort, workerData } from 'node:worker_threads';
import { loadAddon } from '../../dataplane/io/load-addon.ts';
import { NativeBatch } from './native-batch.ts';

export interface NativeWorkerData {
  readonly key: number;
  readonly event: number;
}

const { key, event } = workerData as NativeWorkerData;
const addon = loadAddon();
const input = new NativeBatch(addon, { capacity: 1, bytes: 1024, rows: 1 });
const output = new NativeBatch(addon, { capacity: 1, bytes: 1024, rows: 1 });

addon.watchReadable(event, () => {
  addon.eventClear(event);
  input.lay([Uint8Array.of(1, 2, 3)]);
  input.arrays.key[0] = key;
  input.arrays.header[0] = 0x48000001;
  addon.seal(input.handle, 0, 1, output.handle);
  parentPort?.postMessage({ sealed: output.packet(0), sealCalls: addon.counters()['sealCalls'] });
});
parentPort?.postMessage('watching');
