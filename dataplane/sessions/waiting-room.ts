import { isSameSessionId, type SessionStart } from './admission.ts';
import type { Instant, Remote } from './engine-io.ts';

/** A client that may begin a session, and what it said to ask for it. */
export interface WaitingStart {
  readonly remote: Remote;
  readonly start: SessionStart;
  readonly bytes: Uint8Array;
  readonly since: Instant;
}

/**
 * Clients that have proven their address while enough handshakes are under way: first come, first served. Turned away
 * they would repeat themselves after 1, 3, 7 and 15 s, and a gateway with thousands at its door would idle in between.
 */
export class WaitingRoom {
  readonly #capacity: number;
  readonly #patienceMs: number;
  /** Longest waiting first. */
  readonly #byKey = new Map<string, WaitingStart>();

  /** @param patienceMs after which a client will have no time left for its handshake, or be gone */
  constructor(capacity: number, patienceMs: number) {
    this.#capacity = capacity;
    this.#patienceMs = patienceMs;
  }

  get size(): number {
    return this.#byKey.size;
  }

  /** Who repeats itself keeps its place. @returns false when there is none left */
  admit(entry: WaitingStart): boolean {
    const { key } = entry.remote;
    const known = this.#byKey.get(key);
    if (known === undefined && this.#byKey.size >= this.#capacity) return false;
    if (known === undefined || !isSameClient(known, entry)) {
      this.#byKey.delete(key);
      this.#byKey.set(key, entry);
    } else if (entry.bytes.length > known.bytes.length) {
      // The first words of TLS, where before it had only acknowledged.
      this.#byKey.set(key, { ...entry, since: known.since });
    }
    return true;
  }

  /** Who is next, and stays so until forgotten. */
  next(now: Instant): WaitingStart | undefined {
    for (const [key, entry] of this.#byKey) {
      if (now - entry.since < this.#patienceMs) return entry;
      this.#byKey.delete(key);
    }
    return undefined;
  }

  forget(key: string): void {
    this.#byKey.delete(key);
  }

  clear(): void {
    this.#byKey.clear();
  }
}

function isSameClient(a: WaitingStart, b: WaitingStart): boolean {
  return isSameSessionId(a.start.peerSessionId, b.start.peerSessionId);
}
