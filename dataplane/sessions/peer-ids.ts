import type { TcpConnectionId } from '../data-channel.ts';

/**
 * Hands out peer ids: slot × threads + thread, so that the low bits name the owning thread. UDP peers go round robin,
 * a TCP peer to the thread that owns its stream. A freed id rests for 60 s, so that late packets of its last holder find
 * nobody; where clients come and go so fast that all slots are used up by then, the one that has rested longest is next.
 */
export class PeerIds {
  readonly #threads: readonly ThreadIds[];
  readonly #slots: number;
  #next = 0;

  /** @param slots of each thread */
  constructor(threads: number, slots: number) {
    this.#slots = Math.min(slots, Math.floor(MAX_PEER_ID / threads));
    this.#threads = Array.from({ length: threads }, () => ({ nextSlot: 0, resting: [], restingFrom: 0 }));
  }

  /** @returns undefined when no id is left. */
  take(connection: TcpConnectionId | null, now: number): number | undefined {
    const thread = connection === null ? this.#roundRobin() : (connection & 0xff) % this.#threads.length;
    const slot = takeSlot(this.#threads[thread], now, this.#slots);
    return slot === undefined ? undefined : slot * this.#threads.length + thread;
  }

  free(peerId: number, now: number): void {
    const count = this.#threads.length;
    this.#threads[peerId % count].resting.push({ slot: Math.floor(peerId / count), until: now + REST_MS });
  }

  #roundRobin(): number {
    const thread = this.#next;
    this.#next = (this.#next + 1) % this.#threads.length;
    return thread;
  }
}

interface ThreadIds {
  nextSlot: number;
  /** Freed slots, oldest first from `restingFrom` on. */
  resting: { readonly slot: number; readonly until: number }[];
  restingFrom: number;
}

function takeSlot(ids: ThreadIds, now: number, slots: number): number | undefined {
  const oldest = ids.resting[ids.restingFrom];
  const hasRested = oldest !== undefined && oldest.until <= now;
  if (!hasRested && ids.nextSlot < slots) return ids.nextSlot++;
  if (oldest === undefined) return undefined;
  ids.restingFrom += 1;
  if (ids.restingFrom > 1024) {
    ids.resting = ids.resting.slice(ids.restingFrom);
    ids.restingFrom = 0;
  }
  return oldest.slot;
}

/** 0xFFFFFF means "no peer id" on the wire. */
const MAX_PEER_ID = 0xfffffe;
const REST_MS = 60_000;
