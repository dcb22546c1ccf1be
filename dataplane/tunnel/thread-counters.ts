import { DROP_REASON_COUNT } from './drop-reason.ts';

/** Numbers that one tunnel thread counts; the place in its shared counter block. */
export const Counter = {
  /** Data packets that reached a thread that does not own their peer. */
  Strays: 0,
  /** Valid packets from another address, as reported. */
  Floats: 1,
  IcmpAnswers: 2,
  PingsSent: 3,
  TcpAccepted: 4,
  /** Over a connection limit. */
  TcpRefused: 5,
  TcpClosed: 6,
  /** Messages for the control thread that found their ring full. */
  ControlRingFull: 7,
  LoopTurns: 8,
  /** Acknowledgements of clients that were not written, because a later one of their batch says more. */
  AcksSuperseded: 9,
} as const;
export type Counter = (typeof Counter)[keyof typeof Counter];
const COUNTERS = 16;

/** Upper bounds of the batch size histogram, packets; the last bucket has none. */
export const BATCH_SIZE_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256] as const;
const BUCKETS = BATCH_SIZE_BUCKETS.length + 1;
const NATIVE = 48;

const AT_DROPS = COUNTERS;
const AT_BATCHES = AT_DROPS + DROP_REASON_COUNT;
const AT_NATIVE = AT_BATCHES + BUCKETS;

export const THREAD_COUNTER_BYTES = (AT_NATIVE + NATIVE) * 8;

/** The counter block of one thread: it alone writes, the control thread reads at leisure. */
export class ThreadCounters {
  readonly #values: Float64Array;
  /** Room for the addon's own counters of this thread. */
  readonly native: Float64Array;

  constructor(shared: SharedArrayBuffer) {
    this.#values = new Float64Array(shared);
    this.native = new Float64Array(shared, AT_NATIVE * 8, NATIVE);
  }

  count(counter: Counter): void {
    this.#values[counter]++;
  }

  drop(reason: number): void {
    this.#values[AT_DROPS + reason]++;
  }

  batch(packets: number): void {
    let bucket = 0;
    while (bucket < BATCH_SIZE_BUCKETS.length && packets > BATCH_SIZE_BUCKETS[bucket]) bucket++;
    this.#values[AT_BATCHES + bucket]++;
  }

  value(counter: Counter): number {
    return this.#values[counter];
  }

  drops(reason: number): number {
    return this.#values[AT_DROPS + reason];
  }

  /** @param bucket 0 to BATCH_SIZE_BUCKETS.length. */
  batches(bucket: number): number {
    return this.#values[AT_BATCHES + bucket];
  }
}
