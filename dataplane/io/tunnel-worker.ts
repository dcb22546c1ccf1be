import { parentPort, workerData } from 'node:worker_threads';
import { InternalError } from '../../net/errors.ts';
import { loadAddon } from './load-addon.ts';
import type { TunnelThreadStart } from './thread-link.ts';
import { TunnelThread } from './tunnel-thread.ts';

/** Entry of a tunnel thread; started by TunnelHost only. */
if (parentPort === null) throw new InternalError('tunnel-worker.ts runs in a worker thread');
const thread = new TunnelThread(loadAddon(), workerData as TunnelThreadStart, parentPort); // TunnelHost made it.
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker's port, not a window
parentPort.postMessage('ready');
thread.run();
