import { InternalError } from '../../net/errors.ts';
import { PacketBatch } from '../tunnel/packet-batch.ts';
import { type NativeAddon, TUN_READ_BYTES } from './native-addon.ts';

/** One thread's queue of the TUN device. */
export class TunDevice {
  readonly batch: PacketBatch;
  readonly #addon: NativeAddon;
  readonly #fd: number;
  readonly #uso: 0 | 1;

  constructor(addon: NativeAddon, fd: number) {
    this.#addon = addon;
    this.#fd = fd;
    this.#uso = addon.tunOffload(fd).uso ? 1 : 0;
    this.batch = new PacketBatch(addon, { slots: READS, bytes: READ_BYTES, remotes: new Uint8Array(0) });
  }

  /** @returns packets and super-packets in `batch`. @throws InternalError when the device is gone. */
  read(): number {
    const count = this.#addon.tunRead(this.#fd, this.batch.handle);
    if (count === -EBADF || count === -EBADFD) throw new InternalError(`TUN queue is gone: errno ${-count}`);
    return Math.max(0, count);
  }

  /** What the device does not take is lost. */
  write(batch: PacketBatch, count: number): void {
    this.#addon.tunWrite(this.#fd, batch.handle, count, this.#uso);
  }
}

const READS = 64;
/** Sixteen of the largest super-packets, or sixty-four packets. */
const READ_BYTES = 16 * TUN_READ_BYTES;
const EBADF = 9;
const EBADFD = 77;
