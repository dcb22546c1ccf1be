import { decodeControlHeader } from '../protocol/control-packet.ts';
import { isSameSessionId, type SessionStart } from './admission.ts';
import type { Instant, Remote } from './engine-io.ts';
import { networkOf } from './rate-limit.ts';

/** A client that may begin a session. */
export interface WaitingStart {
  readonly remote: Remote;
  readonly start: SessionStart;
  /** What it has said so far: an acknowledgement, and a first message of TLS that may be several packets. */
  readonly packets: readonly Uint8Array[];
  readonly since: Instant;
}

/**
 * Clients that have proven their address while enough handshakes are under way. Turned away they would repeat themselves
 * after 1, 3, 7 and 15 s, and a gateway with thousands at its door would idle in between. Networks take turns, so that a
 * flood waits behind itself; within one, who came first is first.
 */
export class WaitingRoom {
  readonly #capacity: number;
  /** By network, the one whose turn it is first; in each by address, who has waited longest first. */
  readonly #queues = new Map<string, Map<string, WaitingStart>>();
  #size = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#size;
  }

  /** Takes somebody new, in place of whoever waited at this address. @returns false when there is no place left */
  admit(entry: WaitingStart): boolean {
    const { key, address } = entry.remote;
    this.forget(entry.remote);
    const network = networkOf(address);
    const queue = this.#queues.get(network) ?? new Map<string, WaitingStart>();
    if (this.#size >= this.#capacity || queue.size >= this.#capacity * SHARE_OF_A_NETWORK) return false;
    this.#queues.set(network, queue);
    queue.set(key, entry);
    this.#size += 1;
    return true;
  }

  /**
   * Keeps what a client says while it waits, unread, as long as that is little: what it says again is not needed.
   * @returns whether the client waits
   */
  hear({ key, address }: Remote, bytes: Uint8Array): boolean {
    const queue = this.#queues.get(networkOf(address));
    const entry = queue?.get(key);
    if (queue === undefined || entry === undefined) return false;
    const head = decodeControlHeader(bytes);
    if (!head.ok || !isSameSessionId(entry.start.peerSessionId, head.header.sessionId)) return false;
    if (entry.packets.length < PACKETS_MOST) queue.set(key, { ...entry, packets: [...entry.packets, bytes.slice()] });
    return true;
  }

  /** Removes and returns who is next. */
  take(): WaitingStart | undefined {
    for (const [network, queue] of this.#queues) {
      this.#queues.delete(network);
      for (const [key, entry] of queue) {
        queue.delete(key);
        this.#size -= 1;
        if (queue.size > 0) this.#queues.set(network, queue);
        return entry;
      }
    }
    return undefined;
  }

  forget({ key, address }: Remote): void {
    const network = networkOf(address);
    const queue = this.#queues.get(network);
    if (queue?.delete(key) !== true) return;
    this.#size -= 1;
    if (queue.size === 0) this.#queues.delete(network);
  }

  clear(): void {
    this.#queues.clear();
    this.#size = 0;
  }
}

const SHARE_OF_A_NETWORK = 1 / 8;
const PACKETS_MOST = 4;
