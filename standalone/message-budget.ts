import type { DataPlaneMessage } from '../dataplane/process-messages.ts';

type Kind = DataPlaneMessage['kind'];

/**
 * How many messages an honest data plane can have sent by now, and some. All but two kinds are the one answer to something,
 * or wait for theirs before the next; sticky addresses come every ten seconds, and once more at the end.
 */
export class MessageBudget {
  readonly #now: () => number;
  readonly #left: Record<Kind, number> = {
    ready: 1,
    failed: MARGIN,
    // One is of the configuration that it is started with.
    applied: MARGIN,
    rejected: MARGIN,
    connections: MARGIN,
    terminated: MARGIN,
    leases: 2 * MARGIN,
    codesUsed: MARGIN,
  };
  #leasesAt: number;

  /** @param now milliseconds of a clock that only goes forward */
  constructor(now: () => number) {
    this.#now = now;
    this.#leasesAt = now();
  }

  /** One more may come of each: it was asked for, or the last is answered. */
  expect(...kinds: readonly Kind[]): void {
    for (const kind of kinds) this.#left[kind] += 1;
  }

  /** @returns why no honest data plane sends this; null for what one may. */
  objection(kind: string): string | null {
    if (!Object.hasOwn(this.#left, kind)) return 'it says what has no meaning';
    const known = kind as Kind;
    if (known === 'leases') this.#saveUpLeases();
    this.#left[known] -= 1;
    if (this.#left[known] >= 0) return null;
    return known === 'ready' ? 'it says twice that it is ready' : `it says more than it has to: ${known}`;
  }

  #saveUpLeases(): void {
    const now = this.#now();
    const saved = this.#left.leases + (MARGIN * (now - this.#leasesAt)) / LEASES_EVERY_MS;
    this.#left.leases = Math.min(LEASES_SAVED_MOST, saved);
    this.#leasesAt = now;
  }
}

/** More than there can be, where they are counted; times as many, where they depend on its clock. */
const MARGIN = 10;
const LEASES_EVERY_MS = 10_000;
/** An hour's, for a parent that was stopped and reads them all at once. */
const LEASES_SAVED_MOST = 360;
