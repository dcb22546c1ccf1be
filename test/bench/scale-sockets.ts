import { loadAddon } from '../../dataplane/io/load-addon.ts';
import type { NativeAddon } from '../../dataplane/io/native-addon.ts';
import { PacketBatch, REMOTE_BYTES } from '../../dataplane/tunnel/packet-batch.ts';
import type { GeneratorPlan } from './scale-protocol.ts';

/**
 * One address for each client, over a few sockets: every datagram says which of our addresses it is from or to. The
 * namespace has a local route for all of them.
 *
 *   client i ──► network (first + i mod networks), host 1 + i / networks; socket i mod SOCKETS
 */
export class ScaleSockets {
  sendErrors = 0;
  readonly #addon: NativeAddon;
  readonly #plan: GeneratorPlan;
  readonly #fds: readonly number[];
  readonly #batch: PacketBatch;
  readonly #server: Uint8Array;
  readonly #row: Uint8Array;
  readonly #first: number;
  readonly #onDatagram: (index: number, bytes: Uint8Array) => void;

  constructor(plan: GeneratorPlan, onDatagram: (index: number, bytes: Uint8Array) => void) {
    this.#addon = loadAddon();
    this.#plan = plan;
    this.#onDatagram = onDatagram;
    this.#server = this.#addon.parseAddress(plan.server.address, plan.server.port);
    this.#row = this.#server.slice();
    this.#first = addressNumber(this.#addon.parseAddress(plan.firstNetwork, 0), REMOTE_ADDRESS);
    this.#batch = new PacketBatch(this.#addon, { slots: 256 });
    this.#fds = Array.from({ length: SOCKETS }, (_, index) => this.#open(plan.firstPort + index));
  }

  transmit(index: number, bytes: Uint8Array): void {
    const { networks, firstAddress } = this.#plan;
    const number = firstAddress + index;
    const address = this.#first + (number % networks) * 256 + 1 + Math.floor(number / networks);
    new DataView(this.#row.buffer).setUint32(LOCAL_ADDRESS, address);
    if (this.#addon.udpSendTo(this.#fds[index % SOCKETS], bytes, this.#row) < 0) this.sendErrors += 1;
  }

  #open(port: number): number {
    const { fd } = this.#addon.udpOpen({
      address: '0.0.0.0',
      port,
      gro: false,
      receiveBufferBytes: BUFFER_BYTES,
      sendBufferBytes: BUFFER_BYTES,
    });
    this.#addon.watchReadable(fd, () => this.#drain(fd));
    return fd;
  }

  #drain(fd: number): void {
    const { bytes, offset, length, source, remotes } = this.#batch;
    const { networks, firstAddress } = this.#plan;
    const count = this.#addon.udpReceive(fd, this.#batch.handle);
    for (let slot = 0; slot < count; slot++) {
      const at = addressNumber(remotes, source[slot] * REMOTE_BYTES + LOCAL_ADDRESS) - this.#first;
      const number = (at >>> 8) + ((at & 0xff) - 1) * networks;
      this.#onDatagram(number - firstAddress, bytes.slice(offset[slot], offset[slot] + length[slot]));
    }
  }
}

function addressNumber(rows: Uint8Array, at: number): number {
  return new DataView(rows.buffer, rows.byteOffset).getUint32(at);
}

/** Of a row, see native/socket_address.h. */
const REMOTE_ADDRESS = 4;
const LOCAL_ADDRESS = 24;
/** Each has a buffer of its own: with the default rmem_max one holds about 270 datagrams. */
const SOCKETS = 16;
const BUFFER_BYTES = 4 * 1024 * 1024;
