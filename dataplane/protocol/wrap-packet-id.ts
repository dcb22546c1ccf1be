import { viewOf } from './bytes.ts';

/** Replay protection of tls-auth and tls-crypt: `u32 id`, `u32 unix time`; ordered by time, then id. */
export interface WrapPacketId {
  /** 1..2^32−1; 0 is invalid. */
  readonly id: number;
  /** Seconds since 1970 at the sender's first use. */
  readonly time: number;
}

export const WRAP_PACKET_ID_BYTES = 8;

/** Writes 8 bytes at `offset`. */
export function writeWrapPacketId(bytes: Uint8Array, offset: number, packetId: WrapPacketId): void {
  const view = viewOf(bytes);
  view.setUint32(offset, packetId.id);
  view.setUint32(offset + 4, packetId.time);
}

/** Reads 8 bytes at `offset`; the caller has checked the length. */
export function decodeWrapPacketId(bytes: Uint8Array, offset: number): WrapPacketId {
  const view = viewOf(bytes);
  return { id: view.getUint32(offset), time: view.getUint32(offset + 4) };
}

/** The sender's counter: every transmission, retransmissions too, takes a fresh one. */
export class WrapPacketIds {
  #nextId: number;
  #time: number;

  /** @param timeS seconds since 1970; @param firstId 2 for a session that continues a stateless answer. */
  constructor(timeS: number, firstId = 1) {
    this.#nextId = firstId;
    this.#time = timeS;
  }

  next(): WrapPacketId {
    if (this.#nextId > 0xffffffff) {
      // One later than the last is enough for the receiver, which only compares.
      this.#time += 1;
      this.#nextId = 1;
    }
    const packetId = { id: this.#nextId, time: this.#time };
    this.#nextId += 1;
    return packetId;
  }
}

export type WrapPacketIdVerdict = 'fresh' | 'zero' | 'replayed' | 'too-old' | 'stale-time';

const NOTHING = new Uint8Array(0);
const NEVER = new Float64Array(0);
const WINDOW_IDS = 64;
const WINDOW_MS = 15_000;

/** The receiver's window: 64 ids wide, a gap stays open for 15 s, a lower time is refused, a higher one starts anew. */
export class WrapPacketIdWindow {
  #time = -1;
  #highest = 0;
  #seen = NOTHING;
  /** When a later id was accepted, by id modulo the width. */
  #passedAtMs = NEVER;

  /** Judges an authenticated id and remembers it when it is fresh. `nowMs` is of a monotonic clock. */
  accept(packetId: WrapPacketId, nowMs: number): WrapPacketIdVerdict {
    const { id, time } = packetId;
    if (id === 0) return 'zero';
    if (time < this.#time) return 'stale-time';
    if (time > this.#time) {
      this.#time = time;
      this.#highest = 0;
    }
    if (id > this.#highest) {
      this.#advance(id, nowMs);
      return 'fresh';
    }
    if (this.#highest - id >= WINDOW_IDS) return 'too-old';
    const slot = id % WINDOW_IDS;
    if (this.#seen[slot] === 1) return 'replayed';
    if (nowMs - this.#passedAtMs[slot] > WINDOW_MS) return 'too-old';
    this.#seen[slot] = 1;
    return 'fresh';
  }

  #advance(id: number, nowMs: number): void {
    // Two thirds of a kilobyte, which most sessions never need: those without a wrap, and those that have not renewed.
    if (this.#seen.length === 0) {
      this.#seen = new Uint8Array(WINDOW_IDS);
      this.#passedAtMs = new Float64Array(WINDOW_IDS);
    }
    for (let passed = Math.max(this.#highest + 1, id - WINDOW_IDS + 1); passed < id; passed += 1) {
      this.#seen[passed % WINDOW_IDS] = 0;
      this.#passedAtMs[passed % WINDOW_IDS] = nowMs;
    }
    this.#seen[id % WINDOW_IDS] = 1;
    this.#highest = id;
  }
}
