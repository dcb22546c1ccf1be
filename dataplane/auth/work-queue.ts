/** Who is served first when more want in than can be served. */
export type Lane = 'familiar' | 'stranger';

/**
 * Runs a few costly jobs at a time; the rest wait in two bounded lanes, familiar callers first,
 * so that a flood of strangers does not keep out those who have been here before.
 */
export class WorkQueue {
  readonly #concurrency: number;
  readonly #capacity: number;
  readonly #lanes: Readonly<Record<Lane, (() => void)[]>> = { familiar: [], stranger: [] };
  #running = 0;

  /** @param capacity how many may wait in each lane. */
  constructor(options: { readonly concurrency: number; readonly capacity: number }) {
    this.#concurrency = options.concurrency;
    this.#capacity = options.capacity;
  }

  get waiting(): number {
    return this.#lanes.familiar.length + this.#lanes.stranger.length;
  }

  /** @returns the job's result, or null when the lane is full; rejects with the job, or when `signal` ends the wait. */
  async run<T>(lane: Lane, job: () => Promise<T>, signal: AbortSignal): Promise<{ readonly value: T } | null> {
    if (this.#running >= this.#concurrency) {
      if (this.#lanes[lane].length >= this.#capacity) return null;
      await this.#turn(lane, signal);
    } else {
      this.#running += 1;
    }
    try {
      return { value: await job() };
    } finally {
      this.#passOn();
    }
  }

  /** Resolves when the place of a finished job is handed over: `#running` stays as it is. */
  #turn(lane: Lane, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting = this.#lanes[lane];
    const start = (): void => {
      signal.removeEventListener('abort', leave);
      resolve();
    };
    const leave = (): void => {
      waiting.splice(waiting.indexOf(start), 1);
      reject(signal.reason as Error);
    };
    signal.throwIfAborted();
    signal.addEventListener('abort', leave, { once: true });
    waiting.push(start);
    return promise;
  }

  #passOn(): void {
    const next = this.#lanes.familiar.shift() ?? this.#lanes.stranger.shift();
    if (next === undefined) this.#running -= 1;
    else next();
  }
}
