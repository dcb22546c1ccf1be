/** Does a write at once, and all that are asked for in the pause that follows as one, at its end. */
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
    this.#write();
    this.#next.resolve();
    this.#next = undefined;
    this.#pause = setTimeout(() => this.flush(), PAUSE_MS).unref();
  }
}

/** A write is two fsyncs: milliseconds, on some disks tens of them, during which the parent does nothing else. */
const PAUSE_MS = 100;
