import { CONTROL_HEADER_BYTES, MAX_CONTROL_ACKS, SESSION_ID_BYTES } from './control-packet.ts';

/** What a control packet may measure on the wire, IP and UDP headers included. */
export const MAX_CONTROL_DATAGRAM_BYTES = 1250;
/** The larger of the two: IPv6 and UDP. */
const IP_UDP_HEADER_BYTES = 48;

/** TLS bytes per control packet, so that no datagram passes 1250 bytes even with all the acks it may carry. */
export function maxPayloadBytes(wrapOverheadBytes: number): number {
  const body = 1 + MAX_CONTROL_ACKS * 4 + SESSION_ID_BYTES + 4;
  return MAX_CONTROL_DATAGRAM_BYTES - IP_UDP_HEADER_BYTES - CONTROL_HEADER_BYTES - wrapOverheadBytes - body;
}

/** A queue of stream bytes that are taken in pieces of a given size; small writes share a piece. */
export class ByteQueue {
  #chunks: Uint8Array[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Keeps a copy: the caller may reuse `bytes`. */
  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#chunks.push(bytes.slice());
    this.#length += bytes.length;
  }

  /** The oldest `maxBytes` bytes, or all there are. */
  take(maxBytes: number): Uint8Array {
    const taken = new Uint8Array(Math.min(maxBytes, this.#length));
    let filled = 0;
    let used = 0;
    while (filled < taken.length) {
      const chunk = this.#chunks[used];
      const part = chunk.subarray(0, taken.length - filled);
      taken.set(part, filled);
      filled += part.length;
      if (part.length === chunk.length) used += 1;
      else this.#chunks[used] = chunk.subarray(part.length);
    }
    this.#chunks.splice(0, used);
    this.#length -= filled;
    return taken;
  }

  clear(): void {
    this.#chunks = [];
    this.#length = 0;
  }
}
