import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { prefixSize, type Ipv4Prefix } from '../../net/ipv4-prefix.ts';
import type { TcpConnectionId } from '../data-channel.ts';
import { TRAFFIC_FIELDS } from '../tunnel/peer-table.ts';
import { THREAD_COUNTER_BYTES, ThreadCounters } from '../tunnel/thread-counters.ts';
import type { NativeAddon } from './native-addon.ts';
import { ByteRing } from './ring.ts';
import { RecordKind, type RecordRing } from './ring-record.ts';
import {
  Doorbell,
  recordRing,
  type SharedLinks,
  ThreadWord,
  type TunnelThreadStart,
  type TunnelVerb,
  type VerbMessage,
} from './thread-link.ts';

/** The control thread's handle of one tunnel thread: its worker, its rings, and the verbs on their way to it. */
export class TunnelThreadHandle {
  readonly thread: number;
  /** Rejects when the thread dies before it waits for packets. */
  readonly started: Promise<void>;
  readonly ended: Promise<void>;
  readonly traffic: Float64Array;
  readonly counters: ThreadCounters;
  readonly #worker: Worker;
  readonly #addon: NativeAddon;
  readonly #wakeup: number;
  readonly #words: Int32Array;
  readonly #doorbell: Doorbell;
  readonly #ring: RecordRing;
  readonly #keysToFree: { readonly sequence: number; readonly handle: number }[] = [];
  #verbs: TunnelVerb[] = [];
  #sequence = 0;

  /** @param onFailure the thread died after its start. */
  constructor(addon: NativeAddon, start: TunnelThreadStart, onFailure: (error: Error) => void) {
    const { thread, shared } = start;
    this.thread = thread;
    this.traffic = new Float64Array(shared.traffic[thread]);
    this.counters = new ThreadCounters(shared.counters[thread]);
    this.#addon = addon;
    this.#wakeup = shared.wakeups[thread];
    this.#words = new Int32Array(shared.words, thread * ThreadWord.Count * 4, ThreadWord.Count);
    this.#doorbell = new Doorbell(shared, thread, (fd) => addon.eventSignal(fd));
    this.#ring = recordRing(shared.fromControl[thread]);

    // URLs of workers are not rewritten by the compiler.
    const extension = extname(fileURLToPath(import.meta.url));
    const worker = new Worker(new URL(`./tunnel-worker${extension}`, import.meta.url), {
      name: `tunnel-${thread}`,
      workerData: start,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
    });
    this.#worker = worker;
    let isStarted = false;
    this.started = new Promise<void>((resolve, reject) => {
      worker.once('message', () => {
        isStarted = true;
        resolve();
      });
      worker.once('error', (error: Error) => (isStarted ? onFailure(error) : reject(error)));
    });
    this.ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  }

  /** The number that the message being gathered will have. */
  get nextSequence(): number {
    return this.#sequence + 1;
  }

  /** The last message that the thread has applied. */
  get applied(): number {
    return Atomics.load(this.#words, ThreadWord.VerbsApplied);
  }

  add(verb: TunnelVerb): void {
    this.#verbs.push(verb);
  }

  /** Sends what was added as one message. */
  flush(): void {
    if (this.#verbs.length === 0) return;
    const isAwaited = this.#verbs.some(({ verb }) => verb === 'setPolicy');
    const message: VerbMessage = { sequence: ++this.#sequence, verbs: this.#verbs, isAwaited };
    this.#verbs = [];
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker, not a window
    this.#worker.postMessage(message);
    Atomics.store(this.#words, ThreadWord.VerbsPosted, message.sequence);
    this.#doorbell.ring();
  }

  /** The thread may use the key until it has applied the message being gathered. */
  freeKeyLater(handle: number): void {
    this.#keysToFree.push({ sequence: this.nextSequence, handle });
  }

  /** @returns whether there are more that the thread may use. */
  freeKeys(limit = this.applied): boolean {
    while (this.#keysToFree.length > 0 && this.#keysToFree[0].sequence <= limit) {
      const freed = this.#keysToFree.shift();
      if (freed !== undefined) this.#addon.keyFree(freed.handle);
    }
    return this.#keysToFree.length > 0;
  }

  /** @returns false when the ring is full. */
  transmitTcp(connection: TcpConnectionId, bytes: Uint8Array): boolean {
    if (!this.#ring.begin(RecordKind.TransmitTcp, bytes.length)) return false;
    this.#ring.setConnection(connection);
    this.#ring.setPayload(bytes, 0, bytes.length);
    this.#publish();
    return true;
  }

  /** Behind the bytes that are already on their way. */
  closeTcp(connection: TcpConnectionId): boolean {
    if (!this.#ring.begin(RecordKind.CloseTcp, 0)) return false;
    this.#ring.setConnection(connection);
    this.#publish();
    return true;
  }

  /** @returns false when the ring is full. */
  deliverWire(peerId: number, bytes: Uint8Array, remote: Uint8Array): boolean {
    if (!this.#ring.begin(RecordKind.Wire, bytes.length)) return false;
    this.#ring.setPeer(peerId, 0, 0);
    this.#ring.setRemote(new Int32Array(Uint8Array.from(remote).buffer), 0);
    this.#ring.setPayload(bytes, 0, bytes.length);
    this.#publish();
    return true;
  }

  /** Callable from an exit handler: the thread notices at once. */
  signalStop(): void {
    Atomics.store(this.#words, ThreadWord.Stop, 1);
    this.#addon.eventSignal(this.#wakeup);
  }

  #publish(): void {
    this.#ring.ring.publish();
    this.#doorbell.ring();
  }
}

/** Allocates what the threads share; the wakeups are the caller's to close. */
export function makeSharedLinks(
  addon: NativeAddon,
  threads: number,
  slots: number,
  clientCidr: Ipv4Prefix,
): SharedLinks {
  const each = <T>(make: (index: number) => T): T[] => Array.from({ length: threads }, (_, index) => make(index));
  return {
    words: new SharedArrayBuffer((threads + 1) * ThreadWord.Count * 4),
    wakeups: Array.from({ length: threads + 1 }, () => addon.eventCreate()),
    owners: new SharedArrayBuffer(prefixSize(clientCidr) * 4),
    traffic: each(() => new SharedArrayBuffer((slots + 1) * TRAFFIC_FIELDS * 8)),
    counters: each(() => new SharedArrayBuffer(THREAD_COUNTER_BYTES)),
    between: each((from) => each((to) => (from === to ? null : ByteRing.shared(THREAD_RING_BYTES)))),
    known: each(() => ByteRing.shared(REPORT_RING_BYTES)),
    stranger: each(() => ByteRing.shared(REPORT_RING_BYTES)),
    fromControl: each(() => ByteRing.shared(CONTROL_RING_BYTES)),
  };
}

/** Enough for what a thread makes in a long time: it allocates for verbs, not for packets. */
export const YOUNG_GENERATION_MB = 6;
const THREAD_RING_BYTES = 1 << 20;
const REPORT_RING_BYTES = 1 << 19;
const CONTROL_RING_BYTES = 1 << 20;
