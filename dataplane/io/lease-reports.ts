import type { DataPlaneMemory } from '../process-messages.ts';

export interface LeaseReportsOptions {
  /** Changes whenever a lease does; cheap to ask. */
  readonly revision: () => number;
  readonly read: () => DataPlaneMemory['leases'];
  /** Whether the supervisor has not read yet what it was told. */
  readonly isBehind: () => boolean;
  readonly send: (leases: DataPlaneMemory['leases']) => void;
}

/** Tells the supervisor the sticky addresses every few seconds, but only what has changed: 20,000 are megabytes. */
export class LeaseReports {
  readonly #options: LeaseReportsOptions;
  readonly #interval: NodeJS.Timeout;
  #told: number;

  constructor(options: LeaseReportsOptions) {
    this.#options = options;
    this.#told = options.revision();
    this.#interval = setInterval(() => {
      // One that stands still would find hours of them; the latest is all that counts.
      if (!options.isBehind()) this.tell();
    }, INTERVAL_MS);
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
  }
}

const INTERVAL_MS = 10_000;
