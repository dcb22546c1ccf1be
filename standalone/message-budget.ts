import type { DataPlaneMessage } from '../dataplane/process-messages.ts';
import { longerOf, type MessageBounds } from './message-bound.ts';

type Kind = DataPlaneMessage['kind'];

/**
 * How much an honest data plane can have said by now, and some. All but two kinds are the one answer to something, or wait
 * for theirs before the next; sticky addresses come every ten seconds, and once more at the end.
 */
export class MessageBudget {
  readonly #now: () => number;
  #longest: MessageBounds;
  readonly #left: Record<Kind, number> = {
    ready: 1,
    failed: MARGIN,
    // One is of the configuration that it is started with.
    applied: MARGIN,
    rejected: MARGIN,
    // These can be long, and are counted exactly.
    connections: 0,
    terminated: MARGIN,
    leases: 2 * MARGIN,
    codesUsed: 1,
  };
  #leasesAt: number;
  #leaseBytesLeft: number;

  /** @param now milliseconds of a clock that only goes forward */
  constructor(now: () => number, longest: MessageBounds) {
    this.#now = now;
    this.#longest = longest;
    this.#leasesAt = now();
    this.#leaseBytesLeft = this.#leaseBytesMost;
  }

  /** With a new configuration come longer messages; what it knows of the old ones it may still tell. */
  widen(longest: MessageBounds): void {
    this.#longest = longerOf(this.#longest, longest);
  }

  /** One more may come of each: it was asked for, or the last is answered. */
  expect(...kinds: readonly Kind[]): void {
    for (const kind of kinds) this.#left[kind] += 1;
  }

  /** Bytes of a line that begins so, at most: what nobody waits for is not read to its end. */
  mostBytes(head: string): number {
    const kind = HEAD.exec(head)?.[1] ?? '';
    return this.#isKind(kind) && (kind === 'leases' || this.#left[kind] >= 1) ? this.#longest[kind] : UNKNOWN_BYTES;
  }

  /** @returns why no honest data plane sends this, of so many bytes; null for what one may. */
  objection(kind: string, bytes: number): string | null {
    if (!this.#isKind(kind)) return 'it says what has no meaning';
    if (bytes > this.#longest[kind]) return `it says more at once than there is: ${kind}`;
    if (kind === 'leases') this.#spendLeaseBytes(bytes);
    this.#left[kind] -= 1;
    if (this.#left[kind] >= 0 && this.#leaseBytesLeft >= 0) return null;
    return kind === 'ready' ? 'it says twice that it is ready' : `it says more than it has to: ${kind}`;
  }

  #isKind(kind: string): kind is Kind {
    return Object.hasOwn(this.#left, kind);
  }

  /** Saved up since the last, less this one. */
  #spendLeaseBytes(bytes: number): void {
    const now = this.#now();
    const turns = (now - this.#leasesAt) / LEASES_EVERY_MS;
    this.#leasesAt = now;
    this.#left.leases = Math.min(LEASES_SAVED_MOST, this.#left.leases + MARGIN * turns);
    const saved = this.#leaseBytesLeft + BYTES_MARGIN * turns * this.#longest.leases;
    this.#leaseBytesLeft = Math.min(this.#leaseBytesMost, saved) - bytes;
  }

  /** One that waits in the pipe, one that waits for it to be read, the last, and those that the pipe has room for. */
  get #leaseBytesMost(): number {
    return 3 * this.#longest.leases + PIPE_BYTES;
  }
}

/** More than there can be, where they are counted; times as many, where they depend on its clock. */
const MARGIN = 10;
/** Times as many bytes: ten would keep the parent busy where the client network is large. */
const BYTES_MARGIN = 2;
const LEASES_EVERY_MS = 10_000;
/** An hour's, for a parent that was stopped and reads them all at once. */
const LEASES_SAVED_MOST = 360;
const PIPE_BYTES = 1024 * 1024;
/** As every honest line begins. */
const HEAD = /^\{"kind":"([a-zA-Z]+)"/;
const UNKNOWN_BYTES = 64 * 1024;
