import type { ByteRing } from './ring.ts';
import type { PacketBatch } from '../tunnel/packet-batch.ts';
import { REMOTE_BYTES, REMOTE_WORDS } from '../tunnel/packet-batch.ts';

/** What travels between threads. Every record has the same head; unused fields are 0. */
export const RecordKind = {
  /** Thread → thread: a data packet for its peer's owner. */
  Wire: 1,
  /** Thread → thread: an inner packet, access still to be checked by the owner. */
  InnerUnchecked: 2,
  /** Thread → thread: an inner packet from another client, access checked. */
  InnerChecked: 3,
  /** Thread → control: a data packet whose peer only its address names. */
  Unowned: 4,
  ControlPacket: 5,
  TcpOpened: 6,
  TcpClosed: 7,
  Floated: 8,
  KeepaliveLost: 9,
  ExitNotified: 10,
  KeySwitched: 11,
  KeyExhausted: 12,
  /** Control → thread: bytes for a TCP connection. */
  TransmitTcp: 13,
  /** Control → thread: close behind what was transmitted. */
  CloseTcp: 14,
  /** Thread → control: connections turned away; their number stands for the connection. */
  TcpRefused: 15,
} as const;
export type RecordKind = (typeof RecordKind)[keyof typeof RecordKind];

/**
 *   kind i32 | peer i32 | generation i32 | key id i32 | connection f64 | remote or offload fields 64 | payload …
 */
const WORD = { Kind: 0, Peer: 1, Generation: 2, KeyId: 3 } as const;
const CONNECTION_AT = 16;
const REMOTE_AT = 24;
const RECORD_HEAD_BYTES = REMOTE_AT + REMOTE_BYTES;

/** The longest wire packet that changes threads: more than any tunnel MTU that we offer, and any control packet. */
export const STRAY_BYTES_MAX = 4096;

/** Writes records of one ring and reads them back, field by field and without objects. */
export class RecordRing {
  readonly ring: ByteRing;
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  #at = 0;

  constructor(ring: ByteRing) {
    this.ring = ring;
    const { buffer, byteOffset, byteLength } = ring.bytes;
    this.#words = new Int32Array(buffer, byteOffset, byteLength / 4);
    this.#doubles = new Float64Array(buffer, byteOffset, byteLength / 8);
  }

  // ---- producer ----

  /** Begins a record; the set… calls fill it, `ring.publish` ends it. @returns false when the ring is full. */
  begin(kind: RecordKind, payloadBytes: number): boolean {
    const at = this.ring.reserve(RECORD_HEAD_BYTES + payloadBytes);
    if (at < 0) return false;
    this.#at = at;
    this.#words.fill(0, at >> 2, (at + RECORD_HEAD_BYTES) >> 2);
    this.#words[at >> 2] = kind;
    return true;
  }

  setPeer(peer: number, generation: number, keyId: number): void {
    const at = this.#at >> 2;
    this.#words[at + WORD.Peer] = peer;
    this.#words[at + WORD.Generation] = generation;
    this.#words[at + WORD.KeyId] = keyId;
  }

  setConnection(connection: number): void {
    this.#doubles[(this.#at + CONNECTION_AT) >> 3] = connection;
  }

  /** Copies row `row` of a table of remotes. */
  setRemote(remotes: Int32Array, row: number): void {
    const to = (this.#at + REMOTE_AT) >> 2;
    const from = row * REMOTE_WORDS;
    for (let word = 0; word < REMOTE_WORDS; word++) this.#words[to + word] = remotes[from + word];
  }

  setOffload(batch: PacketBatch, slot: number): void {
    const to = (this.#at + REMOTE_AT) >> 2;
    this.#words[to] = batch.segmentBytes[slot];
    this.#words[to + 1] = batch.headerBytes[slot];
    this.#words[to + 2] = batch.offload[slot];
    this.#words[to + 3] = batch.checksumStart[slot];
    this.#words[to + 4] = batch.checksumOffset[slot];
  }

  setPayload(from: Uint8Array, offset: number, length: number): void {
    copyBytes(from, offset, this.ring.bytes, this.#at + RECORD_HEAD_BYTES, length);
  }

  // ---- consumer ----

  /** Moves to the next record, to be ended by `ring.release`. @returns its kind, 0 when there is none. */
  next(): RecordKind | 0 {
    const at = this.ring.peek();
    if (at < 0) return 0;
    this.#at = at;
    return this.#words[at >> 2] as RecordKind; // Only `begin` writes this word.
  }

  get peer(): number {
    return this.#words[(this.#at >> 2) + WORD.Peer];
  }

  get generation(): number {
    return this.#words[(this.#at >> 2) + WORD.Generation];
  }

  get keyId(): number {
    return this.#words[(this.#at >> 2) + WORD.KeyId];
  }

  get connection(): number {
    return this.#doubles[(this.#at + CONNECTION_AT) >> 3];
  }

  get payloadBytes(): number {
    return this.ring.recordBytes - RECORD_HEAD_BYTES;
  }

  /** A copy that outlives the record. */
  copyRemote(): Uint8Array {
    return this.ring.bytes.slice(this.#at + REMOTE_AT, this.#at + REMOTE_AT + REMOTE_BYTES);
  }

  /** A copy that outlives the record. */
  copyPayload(): Uint8Array {
    return this.ring.bytes.slice(this.#at + RECORD_HEAD_BYTES, this.#at + this.ring.recordBytes);
  }

  readRemote(into: Int32Array, row: number): void {
    const from = (this.#at + REMOTE_AT) >> 2;
    const to = row * REMOTE_WORDS;
    for (let word = 0; word < REMOTE_WORDS; word++) into[to + word] = this.#words[from + word];
  }

  readOffload(batch: PacketBatch, slot: number): void {
    const from = (this.#at + REMOTE_AT) >> 2;
    batch.segmentBytes[slot] = this.#words[from];
    batch.headerBytes[slot] = this.#words[from + 1];
    batch.offload[slot] = this.#words[from + 2];
    batch.checksumStart[slot] = this.#words[from + 3];
    batch.checksumOffset[slot] = this.#words[from + 4];
  }

  readPayload(into: Uint8Array, offset: number): void {
    copyBytes(this.ring.bytes, this.#at + RECORD_HEAD_BYTES, into, offset, this.payloadBytes);
  }
}

/** A view costs an allocation, so only super-packets, one for dozens of segments, get one. */
function copyBytes(from: Uint8Array, fromAt: number, to: Uint8Array, toAt: number, length: number): void {
  if (length > LOOP_COPY_BYTES) {
    to.set(from.subarray(fromAt, fromAt + length), toAt);
    return;
  }
  for (let i = 0; i < length; i++) to[toAt + i] = from[fromAt + i];
}

const LOOP_COPY_BYTES = 2048;
