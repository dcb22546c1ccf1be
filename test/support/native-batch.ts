import type { BatchArrays, BatchHandle, NativeAddon } from '../../dataplane/io/native-addon.ts';
import { SlotVerdict } from '../../dataplane/io/native-addon.ts';

/** The largest batch a test needs unless it says otherwise: GRO-sized regions for 64 messages. */
export interface BatchSize {
  readonly capacity: number;
  readonly bytes: number;
  readonly rows: number;
  readonly regionBytes?: number;
}

/** A batch with every array, registered, and the handling of slots that tests share. */
export class NativeBatch {
  readonly arrays: BatchArrays;
  readonly handle: BatchHandle;
  readonly #capacity: number;

  constructor(addon: NativeAddon, { capacity, bytes, rows, regionBytes }: BatchSize) {
    this.#capacity = capacity;
    this.arrays = {
      bytes: new Uint8Array(bytes),
      offset: new Uint32Array(capacity),
      length: new Uint32Array(capacity),
      verdict: new Uint8Array(capacity),
      key: new Int32Array(capacity).fill(-1),
      peer: new Int32Array(capacity),
      source: new Int32Array(capacity),
      packetId: new Float64Array(capacity),
      epoch: new Uint16Array(capacity),
      header: new Uint32Array(capacity),
      flags: new Uint8Array(capacity),
      segmentBytes: new Uint16Array(capacity),
      headerBytes: new Uint16Array(capacity),
      offload: new Uint8Array(capacity),
      checksumStart: new Uint16Array(capacity),
      checksumOffset: new Uint16Array(capacity),
      remotes: new Uint8Array(rows * 64),
      count: new Uint32Array(1),
      ...(regionBytes === undefined ? {} : { regionBytes }),
    };
    this.handle = addon.registerBatch(this.arrays);
  }

  /** A copy of slot `index`. */
  packet(index: number): Uint8Array {
    const { offset, length, bytes } = this.arrays;
    return bytes.slice(offset[index], offset[index] + length[index]);
  }

  packets(count: number): Uint8Array[] {
    return Array.from({ length: count }, (_, index) => this.packet(index));
  }

  /** Lays the packets one behind the other from slot 0 on, to be sent to row 0. */
  lay(packets: readonly Uint8Array[]): number {
    if (packets.length > this.#capacity) throw new RangeError('more packets than slots');
    const { bytes, offset, length, verdict, peer, offload, segmentBytes, flags } = this.arrays;
    let at = 0;
    for (const [index, packet] of packets.entries()) {
      bytes.set(packet, at);
      offset[index] = at;
      length[index] = packet.length;
      verdict[index] = SlotVerdict.Send;
      peer[index] = 0;
      offload[index] = 0;
      segmentBytes[index] = 0;
      flags[index] = 0;
      at += packet.length;
    }
    return packets.length;
  }
}
