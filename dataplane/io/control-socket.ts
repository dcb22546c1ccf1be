import { getSystemErrorName } from 'node:util';
import { InternalError } from '../../net/errors.ts';
import type { Remote } from '../sessions/engine-io.ts';
import { SOCKET_ADDRESS_BYTES } from '../data-channel.ts';
import { PacketBatch } from '../tunnel/packet-batch.ts';
import { ControlQueue } from './control-queue.ts';
import { GRO_SEGMENTS_MAX, type NativeAddon, RECEIVE_REGION_BYTES } from './native-addon.ts';
import { ResetGate } from './reset-gate.ts';
import { STRAY_BYTES_MAX } from './ring-record.ts';

/** Datagrams read before the event loop gets its turn again: floods must not starve TLS and timers. */
const TURN_BUDGET = 1_024;

/** Of one receive call; with GRO a message may be many datagrams. */
const MESSAGES = 16;

/** A byte more than anybody takes, so that what is too long still shows. Thousands may have to wait. */
const KEPT_BYTES = STRAY_BYTES_MAX + 1;

/** In a row. An error that was waiting, as `ss --kill` leaves one, is taken by being read; what stays ends the process. */
const FAILURES_MOST = 16;

/** Addresses remembered as text. */
const REMOTES_MOST = 1_024;

type UdpRemote = Extract<Remote, { kind: 'udp' }>;

export interface ControlSocketOptions {
  readonly addon: NativeAddon;
  /** Bound, last of the reuseport group: everything but DATA_V2 comes here. */
  readonly fd: number;
  readonly onDatagram: (remote: Remote, bytes: Uint8Array) => void;
}

/** The control thread's UDP socket. */
export class ControlSocket {
  readonly #addon: NativeAddon;
  readonly #fd: number;
  readonly #batch: PacketBatch;
  readonly #gate = new ResetGate();
  readonly #queue: ControlQueue;
  readonly #remotes = new Map<string, UdpRemote>();
  #isClosed = false;
  readonly #stopWatching: () => void;

  constructor(options: ControlSocketOptions) {
    this.#addon = options.addon;
    this.#fd = options.fd;
    this.#queue = new ControlQueue({
      handle: (wire, bytes) => {
        if (!this.#isClosed) options.onDatagram(this.#remoteOf(wire), bytes);
      },
      now: () => options.addon.monotonicMs(),
      schedule: (turn) => setImmediate(turn),
    });
    this.#batch = new PacketBatch(options.addon, {
      slots: MESSAGES * GRO_SEGMENTS_MAX,
      bytes: MESSAGES * RECEIVE_REGION_BYTES.gro,
      regionBytes: RECEIVE_REGION_BYTES.gro,
    });
    this.#stopWatching = options.addon.watchReadable(options.fd, () => this.#drain());
  }

  /** Session openings dropped unread because there were too many. */
  get openingsRefused(): number {
    return this.#gate.refused;
  }

  /** Datagrams dropped because too many others waited. */
  get queueDrops(): number {
    return this.#queue.dropped;
  }

  /** Sends one control packet; a full socket buffer loses it, and the reliability layer sends it again. */
  send(remote: UdpRemote, bytes: Uint8Array): void {
    this.#addon.udpSendTo(this.#fd, bytes, remote.wire);
  }

  close(): void {
    this.#isClosed = true;
    this.#stopWatching();
    this.#addon.close(this.#fd);
    this.#addon.releaseBatch(this.#batch.handle);
  }

  /** A login is a dozen datagrams from one address. */
  #remoteOf(wire: Uint8Array): UdpRemote {
    const row = Buffer.from(wire.buffer, wire.byteOffset, wire.length).toString('latin1');
    const known = this.#remotes.get(row);
    if (known !== undefined) return known;
    if (this.#remotes.size >= REMOTES_MOST) this.#remotes.clear();
    const remote = udpRemote(this.#addon, wire);
    this.#remotes.set(row, remote);
    return remote;
  }

  #drain(): void {
    const { bytes, offset, length, source, remotes } = this.#batch;
    for (let read = 0, failures = 0; read < TURN_BUDGET;) {
      const count = this.#addon.udpReceive(this.#fd, this.#batch.handle);
      if (count === 0) break;
      if (count < 0) {
        failures += 1;
        if (failures > FAILURES_MOST)
          throw new InternalError(`The control socket can not be read: ${getSystemErrorName(count)}`);
        continue;
      }
      read += count;
      const now = this.#addon.monotonicMs();
      for (let slot = 0; slot < count; slot++) {
        // Before anything is made of it: what a flood costs is decided here.
        if (!this.#gate.admits(length[slot] === 0 ? undefined : bytes[offset[slot]], now)) continue;
        const row = source[slot] * SOCKET_ADDRESS_BYTES;
        const wire = remotes.slice(row, row + SOCKET_ADDRESS_BYTES);
        this.#queue.push(wire, bytes.slice(offset[slot], offset[slot] + Math.min(length[slot], KEPT_BYTES)));
      }
      // Fewer than one call takes: the socket is empty, or the event loop says so again.
      if (count < MESSAGES) break;
    }
    this.#queue.turn();
  }
}

/** The remote of an opaque address row; `wire` is kept, not copied. */
export function udpRemote(addon: Pick<NativeAddon, 'formatAddress'>, wire: Uint8Array): UdpRemote {
  const { address, port } = addon.formatAddress(wire);
  return { kind: 'udp', key: `udp/${address}/${port}`, address, port, wire };
}
