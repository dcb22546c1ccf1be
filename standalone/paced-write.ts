/**
 * Does a write at once, and all that are asked for in the pause that follows as one, at its end. The pause is in proportion
 * to the write, so that most of the time is left to others.
 */
export class PacedWrite {
  readonly #write: () => void;
  #pause: NodeJS.Timeout | undefined;
  #next: PromiseWithResolvers<void> | undefined;

  /** @param write throws nothing */
  constructor(write: () => void) {
    this.#write = write;
  }

  /** Resolves after a write that began after this call. */
  ask(): Promise<void> {
    this.#next ??= Promise.withResolvers();
    const { promise } = this.#next;
    if (this.#pause === undefined) this.flush();
    return promise;
  }

  /** Does what waits now. */
  flush(): void {
    clearTimeout(this.#pause);
    this.#pause = undefined;
    if (this.#next === undefined) return;
    const begun = performance.now();
    this.#write();
    const pauseMs = Math.max(PAUSE_MS, PAUSE_SHARE * (performance.now() - begun));
    this.#next.resolve();
    this.#next = undefined;
    this.#pause = setTimeout(() => this.flush(), pauseMs).unref();
  }
}

/** A write is two fsyncs: milliseconds, on some disks tens of them, during which the parent does nothing else. */
const PAUSE_MS = 100;
/** Reading what is to be written takes about as long as the write. */
const PAUSE_SHARE = 6;
