import type { TcpConnectionId, TcpRefusal } from '../data-channel.ts';
import type { PeerEvent } from '../tunnel/forwarder-port.ts';
import type { PacketBatch } from '../tunnel/packet-batch.ts';
import { Counter, type ThreadCounters } from '../tunnel/thread-counters.ts';
import { RecordKind, type RecordRing, STRAY_BYTES_MAX } from './ring-record.ts';
import type { Doorbell } from './thread-link.ts';

/**
 * A tunnel thread's end of its two rings to the control thread: one for known remotes, one for strangers, so that
 * garbage cannot starve renewals. Everything answers whether there was room.
 */
export class ControlOutbox {
  readonly #known: RecordRing;
  readonly #stranger: RecordRing;
  readonly #doorbell: Doorbell;
  readonly #counters: ThreadCounters;

  constructor(known: RecordRing, stranger: RecordRing, doorbell: Doorbell, counters: ThreadCounters) {
    this.#known = known;
    this.#stranger = stranger;
    this.#doorbell = doorbell;
    this.#counters = counters;
  }

  peerEvent(event: PeerEvent, peerId: number, generation: number, keyId: number): boolean {
    if (!this.#begin(this.#known, KIND_OF[event], 0)) return false;
    this.#known.setPeer(peerId, generation, keyId);
    return this.#publish(this.#known);
  }

  floated(peerId: number, generation: number, remotes: Int32Array, row: number): boolean {
    if (!this.#begin(this.#known, RecordKind.Floated, 0)) return false;
    this.#known.setPeer(peerId, generation, 0);
    this.#known.setRemote(remotes, row);
    return this.#publish(this.#known);
  }

  unowned(batch: PacketBatch, slot: number): boolean {
    return this.#datagram(this.#stranger, RecordKind.Unowned, batch, slot);
  }

  datagram(batch: PacketBatch, slot: number, standing: 'known' | 'stranger'): boolean {
    return this.#datagram(standing === 'known' ? this.#known : this.#stranger, RecordKind.ControlPacket, batch, slot);
  }

  frame(batch: PacketBatch, slot: number, connection: TcpConnectionId, standing: 'known' | 'stranger'): boolean {
    const ring = standing === 'known' ? this.#known : this.#stranger;
    const length = batch.length[slot];
    if (length > STRAY_BYTES_MAX || !this.#begin(ring, RecordKind.ControlPacket, length)) return false;
    ring.setConnection(connection);
    ring.setPayload(batch.bytes, batch.offset[slot], length);
    return this.#publish(ring);
  }

  /** On the strangers' ring, as all that comes before login: what is said first is heard first. */
  tcpOpened(connection: TcpConnectionId, remote: Uint8Array): boolean {
    if (!this.#begin(this.#stranger, RecordKind.TcpOpened, 0)) return false;
    this.#stranger.setConnection(connection);
    this.#stranger.setRemote(new Int32Array(remote.buffer, remote.byteOffset, remote.byteLength / 4), 0);
    return this.#publish(this.#stranger);
  }

  tcpClosed(connection: TcpConnectionId, reason: string): boolean {
    const text = UTF8.encode(reason);
    if (!this.#begin(this.#stranger, RecordKind.TcpClosed, text.length)) return false;
    this.#stranger.setConnection(connection);
    this.#stranger.setPayload(text, 0, text.length);
    return this.#publish(this.#stranger);
  }

  /** On the ring of known remotes: a flood of strangers must not hide what is done about it. */
  tcpRefused(reason: TcpRefusal, remote: Uint8Array, count: number): boolean {
    const text = UTF8.encode(reason);
    if (!this.#begin(this.#known, RecordKind.TcpRefused, text.length)) return false;
    this.#known.setConnection(count);
    this.#known.setRemote(new Int32Array(remote.buffer, remote.byteOffset, remote.byteLength / 4), 0);
    this.#known.setPayload(text, 0, text.length);
    return this.#publish(this.#known);
  }

  #datagram(ring: RecordRing, kind: RecordKind, batch: PacketBatch, slot: number): boolean {
    const length = batch.length[slot];
    if (length > STRAY_BYTES_MAX || !this.#begin(ring, kind, length)) return false;
    ring.setRemote(batch.remoteWords, batch.source[slot]);
    ring.setPayload(batch.bytes, batch.offset[slot], length);
    return this.#publish(ring);
  }

  #begin(ring: RecordRing, kind: RecordKind, payloadBytes: number): boolean {
    if (ring.begin(kind, payloadBytes)) return true;
    this.#counters.count(Counter.ControlRingFull);
    return false;
  }

  #publish(ring: RecordRing): boolean {
    ring.ring.publish();
    this.#doorbell.ring();
    return true;
  }
}

const UTF8 = new TextEncoder();
const KIND_OF = {
  keepaliveLost: RecordKind.KeepaliveLost,
  exitNotified: RecordKind.ExitNotified,
  keySwitched: RecordKind.KeySwitched,
  keyExhausted: RecordKind.KeyExhausted,
} as const;
