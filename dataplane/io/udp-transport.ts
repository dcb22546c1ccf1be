import { PacketBatch } from '../tunnel/packet-batch.ts';
import { GRO_SEGMENTS_MAX, type NativeAddon, RECEIVE_REGION_BYTES } from './native-addon.ts';

/** One thread's UDP socket of the reuseport group. */
export class UdpTransport {
  readonly batch: PacketBatch;
  readonly #addon: NativeAddon;
  readonly #fd: number;

  constructor(addon: NativeAddon, fd: number) {
    this.#addon = addon;
    this.#fd = fd;
    this.batch = new PacketBatch(addon, {
      slots: MESSAGES * GRO_SEGMENTS_MAX,
      bytes: MESSAGES * RECEIVE_REGION_BYTES.gro,
      regionBytes: RECEIVE_REGION_BYTES.gro,
    });
  }

  /** One system call. @returns datagrams in `batch`; 0 when there are none or the socket reported an error of a single send. */
  receive(): number {
    return Math.max(0, this.#addon.udpReceive(this.#fd, this.batch.handle));
  }

  /** What the socket does not take is lost, as on any full link. */
  send(output: PacketBatch, count: number): void {
    this.#addon.udpSend(this.#fd, output.handle, count);
  }
}

/** Messages of one receive call: with every one of them glued from dozens of segments, still about a millisecond of work. */
const MESSAGES = 32;
