import { DROP_REASON_COUNT } from './drop-reason.ts';

/** Numbers that one tunnel thread counts; the place in its shared counter block. */
export const Counter = {
  /** Data packets that reached a thread that does not own their peer. */
  Strays: 0,
  TcpAccepted: 1,
  /** Whatever the reason; the control thread is told it with each report. */
  TcpRefused: 2,
  TcpClosed: 3,
  /** Messages for the control thread that found their ring full. */
  ControlRingFull: 4,
  /** Acknowledgements of clients that were not written, because a later one of their batch says more. */
  AcksSuperseded: 5,
} as const;
export type Counter = (typeof Counter)[keyof typeof Counter];
const COUNTERS = 16;
const NATIVE = 48;

const AT_DROPS = COUNTERS;
const AT_NATIVE = AT_DROPS + DROP_REASON_COUNT;

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

  value(counter: Counter): number {
    return this.#values[counter];
  }

  drops(reason: number): number {
    return this.#values[AT_DROPS + reason];
  }
}
