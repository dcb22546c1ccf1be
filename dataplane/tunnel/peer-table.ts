import type { Ipv4Prefix } from '../../net/ipv4-prefix.ts';
import type { PeerRecord, SocketAddressBytes } from '../data-channel.ts';
import { DataKeys } from './data-channel.ts';
import { REMOTE_BYTES, WIRE_FLAG_LZO_STUB, WIRE_FLAG_TCP } from './packet-batch.ts';

/** Numbers of one peer in shared memory: written by its thread, read by the control thread. */
export const Traffic = {
  IngressBytes: 0,
  IngressPackets: 1,
  EgressBytes: 2,
  EgressPackets: 3,
  LastReceived: 4,
} as const;
export const TRAFFIC_FIELDS = 5;

export const Framing = { None: 0, StubV2: 1, CompLzo: 2 } as const;

/**
 * The peers of one thread in flat arrays by slot (peer id = slot × threads + thread), and the way from a
 * tunnel address to its peer, which all threads share.
 */
export class PeerTable {
  readonly thread: number;
  readonly threads: number;
  readonly threadBits: number;
  readonly slots: number;
  readonly keys: DataKeys;
  readonly inUse: Uint8Array;
  readonly generation: Int32Array;
  /** Differs between any two of: peers, group sets. Memos carry it. */
  readonly stamp: Int32Array;
  readonly tunnelAddress: Int32Array;
  readonly framing: Uint8Array;
  readonly wireFlags: Uint8Array;
  /** Wire header without the key id, see BatchArrays.header. */
  readonly header: Uint32Array;
  readonly maxSegmentBytes: Uint16Array;
  readonly tunMtu: Uint16Array;
  readonly pingMs: Float64Array;
  readonly pingTimeoutMs: Float64Array;
  readonly lastSent: Float64Array;
  readonly lastFloatReport: Float64Array;
  readonly lostReported: Uint8Array;
  /** TCP connection of the peer, −1 for UDP. */
  readonly connection: Int32Array;
  /** Rows of REMOTE_BYTES: what udpSend reads. */
  readonly remotes: Uint8Array;
  readonly remoteWords: Int32Array;
  readonly traffic: Float64Array;
  readonly answers: AnswerLimit;
  /** One more than the highest slot ever used: scans stop there. */
  slotsUsed = 0;

  readonly #groups: Int32Array[];
  readonly #owners: AddressOwners;
  #nextStamp = 1;

  constructor(options: PeerTableOptions) {
    const { slots } = options;
    this.thread = options.thread;
    this.threads = options.threads;
    this.threadBits = Math.log2(options.threads);
    this.slots = slots;
    this.keys = new DataKeys(slots);
    this.inUse = new Uint8Array(slots);
    this.generation = new Int32Array(slots);
    this.stamp = new Int32Array(slots);
    this.tunnelAddress = new Int32Array(slots);
    this.framing = new Uint8Array(slots);
    this.wireFlags = new Uint8Array(slots);
    this.header = new Uint32Array(slots);
    this.maxSegmentBytes = new Uint16Array(slots);
    this.tunMtu = new Uint16Array(slots);
    this.pingMs = new Float64Array(slots);
    this.pingTimeoutMs = new Float64Array(slots);
    this.lastSent = new Float64Array(slots);
    this.lastFloatReport = new Float64Array(slots);
    this.lostReported = new Uint8Array(slots);
    this.connection = new Int32Array(slots);
    this.remotes = new Uint8Array(slots * REMOTE_BYTES);
    this.remoteWords = new Int32Array(this.remotes.buffer);
    this.traffic = new Float64Array(options.traffic);
    this.answers = new AnswerLimit(slots);
    this.#groups = Array.from({ length: slots }, () => NO_GROUPS);
    this.#owners = options.owners;
  }

  /** The slot of a peer of this thread, −1 if it has none. */
  slotOf(peerId: number): number {
    const slot = peerId >>> this.threadBits;
    return slot < this.slots && this.inUse[slot] === 1 ? slot : -1;
  }

  threadOf(peerId: number): number {
    return peerId & (this.threads - 1);
  }

  peerIdOf(slot: number): number {
    return slot * this.threads + this.thread;
  }

  groupsOf(slot: number): Int32Array {
    return this.#groups[slot];
  }

  /** The peer id that holds a tunnel address, on any thread; −1 for none. */
  peerIdAt(address: number): number {
    return this.#owners.peerIdAt(address);
  }

  /** @returns the slot, −1 when it lies beyond the table. */
  add(peer: PeerRecord, connection: number, now: number): number {
    const slot = peer.peerId >>> this.threadBits;
    if (slot >= this.slots) return -1;
    if (this.inUse[slot] === 1) this.remove(slot);
    this.inUse[slot] = 1;
    this.generation[slot] = peer.generation;
    this.tunnelAddress[slot] = peer.tunnelAddress;
    this.framing[slot] = FRAMING_OF[peer.framing];
    this.wireFlags[slot] =
      (peer.transport.kind === 'tcp' ? WIRE_FLAG_TCP : 0) | (peer.framing === 'comp-lzo' ? WIRE_FLAG_LZO_STUB : 0);
    this.header[slot] = peer.format === 'V2' ? ((OPCODE_DATA_V2 << 27) | peer.peerId) >>> 0 : OPCODE_DATA_V1 << 27;
    this.maxSegmentBytes[slot] = peer.maxSegmentBytes;
    this.tunMtu[slot] = peer.tunMtu;
    this.pingMs[slot] = peer.pingMs;
    this.pingTimeoutMs[slot] = peer.pingTimeoutMs;
    this.lastSent[slot] = now;
    this.lastFloatReport[slot] = 0;
    this.lostReported[slot] = 0;
    this.connection[slot] = connection;
    this.traffic.fill(0, slot * TRAFFIC_FIELDS, (slot + 1) * TRAFFIC_FIELDS);
    this.traffic[slot * TRAFFIC_FIELDS + Traffic.LastReceived] = now;
    this.answers.reset(slot);
    this.setGroups(slot, peer.groups);
    if (peer.transport.kind === 'udp') this.setRemote(slot, peer.transport.remote);
    else this.remotes.fill(0, slot * REMOTE_BYTES, (slot + 1) * REMOTE_BYTES);
    this.#owners.claim(peer.tunnelAddress, peer.peerId);
    this.slotsUsed = Math.max(this.slotsUsed, slot + 1);
    return slot;
  }

  remove(slot: number): void {
    this.inUse[slot] = 0;
    this.stamp[slot] = 0;
    this.keys.clear(slot);
    this.#owners.release(this.tunnelAddress[slot], this.peerIdOf(slot));
    this.#groups[slot] = NO_GROUPS;
  }

  setRemote(slot: number, remote: SocketAddressBytes): void {
    this.remotes.set(remote.subarray(0, REMOTE_BYTES), slot * REMOTE_BYTES);
  }

  setGroups(slot: number, groups: Int32Array): void {
    this.#groups[slot] = groups;
    this.stamp[slot] = this.#nextStamp++;
  }

  noteReceived(slot: number, now: number): void {
    this.traffic[slot * TRAFFIC_FIELDS + Traffic.LastReceived] = now;
    this.lostReported[slot] = 0;
  }

  countIngress(slot: number, bytes: number): void {
    this.#count(slot, Traffic.IngressBytes, bytes, 1);
  }

  countEgress(slot: number, bytes: number, packets: number): void {
    this.#count(slot, Traffic.EgressBytes, bytes, packets);
  }

  /** Packets stand behind bytes. The row behind the last slot sums up all peers, those that left included. */
  #count(slot: number, field: number, bytes: number, packets: number): void {
    const at = slot * TRAFFIC_FIELDS + field;
    const total = this.slots * TRAFFIC_FIELDS + field;
    this.traffic[at] += bytes;
    this.traffic[at + 1] += packets;
    this.traffic[total] += bytes;
    this.traffic[total + 1] += packets;
  }
}

export interface PeerTableOptions {
  readonly thread: number;
  /** A power of two. */
  readonly threads: number;
  readonly slots: number;
  readonly owners: AddressOwners;
  /** (slots + 1) × TRAFFIC_FIELDS doubles. */
  readonly traffic: SharedArrayBuffer;
}

/**
 * Which peer holds which address of the client network: one word for each address, shared by all threads.
 * A peer's own thread writes; an address moves between threads without a lock because a release only
 * takes back what the same peer claimed.
 */
export class AddressOwners {
  readonly #network: number;
  readonly #peers: Int32Array;

  /** @param shared one word for each address of the network. */
  constructor(clientCidr: Ipv4Prefix, shared: SharedArrayBuffer) {
    this.#network = clientCidr.address;
    this.#peers = new Int32Array(shared);
  }

  peerIdAt(address: number): number {
    const index = (address >>> 0) - this.#network;
    return index >= 0 && index < this.#peers.length ? this.#peers[index] - 1 : -1;
  }

  claim(address: number, peerId: number): void {
    const index = (address >>> 0) - this.#network;
    if (index >= 0 && index < this.#peers.length) Atomics.store(this.#peers, index, peerId + 1);
  }

  release(address: number, peerId: number): void {
    const index = (address >>> 0) - this.#network;
    if (index >= 0 && index < this.#peers.length) Atomics.compareExchange(this.#peers, index, peerId + 1, 0);
  }
}

/** At most ANSWERS_PER_SECOND ICMP errors for each client and second. */
class AnswerLimit {
  readonly #second: Int32Array;
  readonly #count: Uint8Array;

  constructor(slots: number) {
    this.#second = new Int32Array(slots);
    this.#count = new Uint8Array(slots);
  }

  reset(slot: number): void {
    this.#second[slot] = -1;
    this.#count[slot] = 0;
  }

  take(slot: number, second: number): boolean {
    if (this.#second[slot] !== second) {
      this.#second[slot] = second;
      this.#count[slot] = 0;
    }
    if (this.#count[slot] >= ANSWERS_PER_SECOND) return false;
    this.#count[slot]++;
    return true;
  }
}

const ANSWERS_PER_SECOND = 10;
const NO_GROUPS = new Int32Array(0);
const FRAMING_OF = { none: Framing.None, 'stub-v2': Framing.StubV2, 'comp-lzo': Framing.CompLzo } as const;
/** On the wire: "no peer id". */
export const NO_PEER_ID = 0xffffff;
export const OPCODE_DATA_V1 = 6;
export const OPCODE_DATA_V2 = 9;
