import type { DataPlaneMemory } from '../process-messages.ts';

export interface MemoryReportsOptions {
  /** Changes whenever the memory does; cheap to ask. */
  readonly revision: () => string;
  readonly read: () => DataPlaneMemory;
  readonly send: (memory: DataPlaneMemory) => void;
}

/**
 * Tells the supervisor what must survive a restart. It is told whole, which is megabytes with 20,000 leases: only when it
 * has changed, and however many logins there are, not more often than PAUSE_MS.
 */
export class MemoryReports {
  readonly #options: MemoryReportsOptions;
  readonly #interval: NodeJS.Timeout;
  #pause: NodeJS.Timeout | undefined;
  #isWaiting = false;
  #told: string;

  constructor(options: MemoryReportsOptions) {
    this.#options = options;
    this.#told = options.revision();
    this.#interval = setInterval(() => this.tell(), INTERVAL_MS);
  }

  /** For what should not wait for the next interval: at once, or when the pause after the last is over. */
  tellSoon(): void {
    if (this.#pause !== undefined) {
      this.#isWaiting = true;
      return;
    }
    this.tell();
    this.#pause = setTimeout(() => {
      this.#pause = undefined;
      if (!this.#isWaiting) return;
      this.#isWaiting = false;
      this.tellSoon();
    }, PAUSE_MS);
  }

  /** Now, unless nothing has changed. */
  tell(): void {
    const revision = this.#options.revision();
    if (revision === this.#told) return;
    this.#told = revision;
    this.#options.send(this.#options.read());
  }

  close(): void {
    clearInterval(this.#interval);
    clearTimeout(this.#pause);
  }
}

const INTERVAL_MS = 10_000;
const PAUSE_MS = 1_000;
