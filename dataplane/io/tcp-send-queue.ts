/**
 * What waits to leave on one TCP connection: the rest of a frame partly written, then control frames, then data frames.
 * Data is refused at DATA_FRAMES_MAX; how much waits in all is for the owner to judge.
 */
export class TcpSendQueue {
  #partial: Uint8Array | undefined;
  readonly #control: Uint8Array[] = [];
  #controlBytes = 0;
  #data = EMPTY;
  #dataStart = 0;
  #dataEnd = 0;
  #dataFrames = 0;
  readonly #dataCapacity: number;

  /** @param frameBytes the largest data frame, length prefix included. */
  constructor(frameBytes: number) {
    this.#dataCapacity = DATA_FRAMES_MAX * frameBytes;
  }

  get unsentBytes(): number {
    return (this.#partial?.length ?? 0) + this.#controlBytes + this.#dataEnd - this.#dataStart;
  }

  get isEmpty(): boolean {
    return this.unsentBytes === 0;
  }

  /** @param bytes without the length prefix; copied. */
  pushControl(bytes: Uint8Array): void {
    const frame = new Uint8Array(2 + bytes.length);
    frame[0] = bytes.length >>> 8;
    frame[1] = bytes.length;
    frame.set(bytes, 2);
    this.#control.push(frame);
    this.#controlBytes += frame.length;
  }

  /** The rest of a frame of which the beginning has left by another way. Only into an empty queue. */
  pushRest(bytes: Uint8Array, offset: number, length: number): void {
    this.#partial = bytes.slice(offset, offset + length);
  }

  /** @param bytes one frame with its prefix; copied. @returns false when too many wait. */
  pushData(bytes: Uint8Array, offset: number, length: number): boolean {
    if (this.#dataFrames >= DATA_FRAMES_MAX) return false;
    // A connection that never blocks never pays for the buffer.
    if (this.#data.length === 0) this.#data = new Uint8Array(this.#dataCapacity);
    if (this.#dataEnd + length > this.#data.length) {
      this.#data.copyWithin(0, this.#dataStart, this.#dataEnd);
      this.#dataEnd -= this.#dataStart;
      this.#dataStart = 0;
      if (this.#dataEnd + length > this.#data.length) return false;
    }
    for (let i = 0; i < length; i++) this.#data[this.#dataEnd + i] = bytes[offset + i];
    this.#dataEnd += length;
    this.#dataFrames++;
    return true;
  }

  /**
   * Writes as much as `write` takes.
   *
   * @param write returns bytes taken, 0 when the socket is full, negative when the connection is dead.
   */
  drain(write: WriteBytes): 'empty' | 'blocked' | 'failed' {
    if (this.#partial !== undefined) {
      const sent = write(this.#partial, 0, this.#partial.length);
      if (sent < 0) return 'failed';
      if (sent < this.#partial.length) {
        this.#partial = this.#partial.subarray(sent);
        return 'blocked';
      }
      this.#partial = undefined;
    }
    for (let frame = this.#control[0]; frame !== undefined; frame = this.#control[0]) {
      const sent = write(frame, 0, frame.length);
      if (sent < 0) return 'failed';
      if (sent === 0) return 'blocked';
      this.#control.shift();
      this.#controlBytes -= frame.length;
      if (sent < frame.length) {
        this.#partial = frame.subarray(sent);
        return 'blocked';
      }
    }
    return this.#drainData(write);
  }

  #drainData(write: WriteBytes): 'empty' | 'blocked' | 'failed' {
    const waiting = this.#dataEnd - this.#dataStart;
    if (waiting === 0) return 'empty';
    const sent = write(this.#data, this.#dataStart, waiting);
    if (sent < 0) return 'failed';
    let left = sent;
    while (left > 0) {
      const frame = 2 + ((this.#data[this.#dataStart] << 8) | this.#data[this.#dataStart + 1]);
      const rest = frame - left;
      if (rest > 0) this.#partial = this.#data.slice(this.#dataStart + left, this.#dataStart + frame);
      left = Math.max(0, -rest);
      this.#dataStart += frame;
      this.#dataFrames--;
    }
    if (this.#dataStart === this.#dataEnd) {
      this.#dataStart = 0;
      this.#dataEnd = 0;
    }
    return sent === waiting ? 'empty' : 'blocked';
  }
}

export type WriteBytes = (bytes: Uint8Array, offset: number, length: number) => number;

/** About the largest super-packet's worth; what the reference implementation queues for one client. */
export const DATA_FRAMES_MAX = 64;
const EMPTY = new Uint8Array(0);
