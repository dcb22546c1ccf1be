/**
 * A byte ring in shared memory with one producer and one consumer, no locks. Records are written in place:
 * reserve, fill `bytes`, publish. A full ring refuses; the producer counts what it could not pass on.
 *
 *   [ tail | … | head | … ][ record | record | skip … ]     record = length u32, pad u32, payload, padded to 8
 *
 * Positions grow without end (mod 2^32), so that full and empty differ. A record of up to half the capacity fits an
 * empty ring wherever its positions stand.
 */
export class ByteRing {
  readonly bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #positions: Int32Array;
  readonly #mask: number;
  #reserved = 0;
  #recordEnd = 0;

  /** @param capacityBytes a power of two, at least 64. */
  static shared(capacityBytes: number): SharedArrayBuffer {
    return new SharedArrayBuffer(POSITION_BYTES + capacityBytes);
  }

  constructor(shared: SharedArrayBuffer) {
    this.bytes = new Uint8Array(shared, POSITION_BYTES);
    this.#words = new Int32Array(shared, POSITION_BYTES);
    this.#positions = new Int32Array(shared, 0, POSITION_BYTES / 4);
    this.#mask = this.bytes.length - 1;
  }

  /** Producer: room for one record of at most half the capacity. @returns where its payload begins in `bytes` (8-aligned), −1 when it does not fit. */
  reserve(payloadBytes: number): number {
    const capacity = this.bytes.length;
    const size = recordSize(payloadBytes);
    const head = this.#positions[HEAD];
    const free = capacity - ((head - Atomics.load(this.#positions, TAIL)) >>> 0);
    const at = head & this.#mask;
    const untilEnd = capacity - at;
    const skip = size <= untilEnd ? 0 : untilEnd;
    if (skip + size > free) return -1;
    if (skip > 0) this.#words[at >>> 2] = SKIP;
    const start = (at + skip) & this.#mask;
    this.#words[start >>> 2] = payloadBytes;
    this.#reserved = (head + skip + size) | 0;
    return start + RECORD_HEADER;
  }

  /** Producer: makes the reserved record visible. */
  publish(): void {
    Atomics.store(this.#positions, HEAD, this.#reserved);
  }

  /** Consumer: the next record's payload in `bytes`, −1 when there is none. Its length is `recordBytes`. */
  peek(): number {
    const head = Atomics.load(this.#positions, HEAD);
    let tail = this.#positions[TAIL];
    if (tail === head) return -1;
    let at = tail & this.#mask;
    if (this.#words[at >>> 2] === SKIP) {
      tail = (tail + this.bytes.length - at) | 0;
      at = 0;
    }
    this.recordBytes = this.#words[at >>> 2];
    this.#recordEnd = (tail + recordSize(this.recordBytes)) | 0;
    return at + RECORD_HEADER;
  }

  recordBytes = 0;

  /** Consumer: done with the record of the last peek. */
  release(): void {
    Atomics.store(this.#positions, TAIL, this.#recordEnd);
  }

  isEmpty(): boolean {
    return Atomics.load(this.#positions, HEAD) === Atomics.load(this.#positions, TAIL);
  }
}

function recordSize(payloadBytes: number): number {
  return (RECORD_HEADER + payloadBytes + 7) & ~7;
}

/** Far enough apart that producer and consumer do not share a cache line. */
const POSITION_BYTES = 256;
const HEAD = 0;
const TAIL = 32;
const RECORD_HEADER = 8;
const SKIP = -1;
