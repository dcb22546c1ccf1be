import { concatBytes, u16Bytes, viewOf } from '../../dataplane/protocol/bytes.ts';

export type TcpFrames =
  | { readonly ok: true; readonly packets: readonly Uint8Array[] }
  /** There is no way to find the next packet: the connection must close. */
  | { readonly ok: false };

/** The longest packet accepted in a frame. */
export function maxTcpPacketBytes(tunMtuBytes: number): number {
  return 2048 + tunMtuBytes;
}

/** `[length 2][packet]`; the length does not count itself. */
export function frameForTcp(packet: Uint8Array): Uint8Array {
  return concatBytes(u16Bytes(packet.length), packet);
}

/** Cuts a TCP stream into packets: the tests' twin of what TcpTransport does. */
export class TcpFrameReader {
  readonly #maxBytes: number;
  #pending = new Uint8Array(0);
  #isBroken = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  push(bytes: Uint8Array): TcpFrames {
    const stream = concatBytes(this.#pending, bytes);
    const view = viewOf(stream);
    const packets: Uint8Array[] = [];
    let at = 0;
    while (!this.#isBroken && at + 2 <= stream.length) {
      const length = view.getUint16(at);
      if (length === 0 || length > this.#maxBytes) this.#isBroken = true;
      if (at + 2 + length > stream.length) break;
      packets.push(stream.slice(at + 2, at + 2 + length));
      at += 2 + length;
    }
    this.#pending = stream.slice(at);
    return this.#isBroken ? { ok: false } : { ok: true, packets };
  }
}
