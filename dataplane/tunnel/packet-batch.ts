/**
 * Packets in one block of memory, each slot an offset and a length: the arrays are registered with the addon once
 * and live as long as their thread. Field for field the BatchArrays of the addon.
 */
export class PacketBatch {
  readonly bytes: Uint8Array;
  readonly offset: Uint32Array;
  readonly length: Uint32Array;
  /** PacketVerdict. */
  readonly verdict: Uint8Array;
  /** Native key handle, −1 for none. */
  readonly key: Int32Array;
  /** Peer slot of this thread. */
  readonly peer: Int32Array;
  readonly source: Int32Array;
  readonly packetId: Float64Array;
  readonly epoch: Uint16Array;
  readonly header: Uint32Array;
  readonly flags: Uint8Array;
  readonly segmentBytes: Uint16Array;
  readonly headerBytes: Uint16Array;
  readonly offload: Uint8Array;
  readonly checksumStart: Uint16Array;
  readonly checksumOffset: Uint16Array;
  readonly remotes: Uint8Array;
  /** The same rows as words, REMOTE_WORDS each. */
  readonly remoteWords: Int32Array;
  readonly count: Uint32Array;
  readonly regionBytes: number;
  /** What calls to the addon name the batch by. */
  readonly handle: number;
  readonly #registry: BatchRegistry;

  constructor(registry: BatchRegistry, size: PacketBatchSize) {
    const { slots } = size;
    const bytes = size.bytes ?? slots * SINGLE_REGION_BYTES;
    const remoteBytes = size.remotes === undefined ? slots * REMOTE_BYTES : 0;
    const block = new Block(slots * SLOT_BYTES + remoteBytes + bytes);
    this.packetId = new Float64Array(block.buffer, block.take(slots * 8), slots);
    this.remotes = size.remotes ?? new Uint8Array(block.buffer, block.take(remoteBytes), remoteBytes);
    this.remoteWords = new Int32Array(this.remotes.buffer, this.remotes.byteOffset, this.remotes.byteLength >> 2);
    this.offset = new Uint32Array(block.buffer, block.take(slots * 4), slots);
    this.length = new Uint32Array(block.buffer, block.take(slots * 4), slots);
    this.key = new Int32Array(block.buffer, block.take(slots * 4), slots).fill(-1);
    this.peer = new Int32Array(block.buffer, block.take(slots * 4), slots);
    this.source = new Int32Array(block.buffer, block.take(slots * 4), slots);
    this.header = new Uint32Array(block.buffer, block.take(slots * 4), slots);
    this.epoch = new Uint16Array(block.buffer, block.take(slots * 2), slots);
    this.segmentBytes = new Uint16Array(block.buffer, block.take(slots * 2), slots);
    this.headerBytes = new Uint16Array(block.buffer, block.take(slots * 2), slots);
    this.checksumStart = new Uint16Array(block.buffer, block.take(slots * 2), slots);
    this.checksumOffset = new Uint16Array(block.buffer, block.take(slots * 2), slots);
    this.verdict = new Uint8Array(block.buffer, block.take(slots), slots);
    this.flags = new Uint8Array(block.buffer, block.take(slots), slots);
    this.offload = new Uint8Array(block.buffer, block.take(slots), slots);
    this.count = new Uint32Array(block.buffer, block.take(4), 1);
    this.bytes = new Uint8Array(block.buffer, block.take(bytes), bytes);
    this.regionBytes = size.regionBytes ?? SINGLE_REGION_BYTES;
    this.#registry = registry;
    this.handle = registry.registerBatch(this);
  }

  /** The addon forgets the batch; no call may name it any more. */
  release(): void {
    this.#registry.releaseBatch(this.handle);
  }

  get slots(): number {
    return this.offset.length;
  }

  /** Makes slot `slot` a single packet without offload work. */
  setPlain(slot: number, offset: number, length: number): void {
    this.offset[slot] = offset;
    this.length[slot] = length;
    this.segmentBytes[slot] = 0;
    this.headerBytes[slot] = 0;
    this.offload[slot] = 0;
    this.checksumStart[slot] = 0;
    this.checksumOffset[slot] = 0;
  }
}

/** One buffer for all arrays of a batch: at each call the addon looks whether each buffer is still there. */
class Block {
  readonly buffer: ArrayBuffer;
  #used = 0;

  constructor(bytes: number) {
    this.buffer = new ArrayBuffer(bytes + ARRAYS * CACHE_LINE_BYTES);
  }

  /** @returns where the next `bytes` begin, at the start of a cache line. */
  take(bytes: number): number {
    const at = this.#used;
    this.#used = (at + bytes + CACHE_LINE_BYTES - 1) & -CACHE_LINE_BYTES;
    return at;
  }
}

const ARRAYS = 18;
const CACHE_LINE_BYTES = 64;
/** One element of each array but `remotes` and `bytes`. */
const SLOT_BYTES = 8 + 6 * 4 + 5 * 2 + 3;

export interface PacketBatchSize {
  readonly slots: number;
  /** Absent: room for one datagram of at most 2,112 bytes in each slot. */
  readonly bytes?: number;
  /** A table of remotes shared with others; rows of REMOTE_BYTES. */
  readonly remotes?: Uint8Array;
  /** Bytes for each received message, see BatchArrays. */
  readonly regionBytes?: number;
}

/** The addon, as far as a batch needs it. */
export interface BatchRegistry {
  registerBatch(batch: PacketBatch): number;
  releaseBatch(handle: number): void;
}

/** 0 to 8 are the addon's numbers (SlotVerdict); the others are ours and it leaves them alone. */
export const PacketVerdict = {
  Pending: 0,
  Opened: 1,
  Send: 2,
  BadTag: 3,
  TooShort: 4,
  BadPacketId: 5,
  BadEpoch: 6,
  KeyExhausted: 7,
  Unsealable: 8,
  Dropped: 16,
  /** Handled: nothing left to do. */
  Consumed: 17,
  /** For another client of this gateway; access was checked. */
  ToClient: 18,
} as const;

/** SOCKET_ADDRESS_BYTES; the first REMOTE_KEY_WORDS words name the remote, the rest is our side of the path. */
export const REMOTE_BYTES = 64;
export const REMOTE_WORDS = 16;
const REMOTE_KEY_WORDS = 6;

/** RECEIVE_REGION_BYTES.single of the addon. */
const SINGLE_REGION_BYTES = 2_112;

/** Bits of `flags`. */
export const WIRE_FLAG_TCP = 1;
export const WIRE_FLAG_LZO_STUB = 2;
/** Bit of `offload`: the transport checksum holds only the pseudo-header's sum. */
export const OFFLOAD_PARTIAL_CHECKSUM = 0x80;

/** Whether two rows name the same remote. */
export function isSameRemote(a: Int32Array, rowA: number, b: Int32Array, rowB: number): boolean {
  const atA = rowA * REMOTE_WORDS;
  const atB = rowB * REMOTE_WORDS;
  for (let word = 0; word < REMOTE_KEY_WORDS; word++) {
    if (a[atA + word] !== b[atB + word]) return false;
  }
  return true;
}
