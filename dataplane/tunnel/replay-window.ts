/**
 * Replay windows, many in flat arrays. A window remembers the highest packet id and which of the ids below it were
 * seen, in a ring of bits. Checked and updated only after the tag has been verified.
 *
 * Ids more than REPLAY_WINDOW behind the highest are refused, and so is an unseen id that later packets overtook
 * more than 15 s ago: the highest id at the end of each of the last 16 seconds is kept, and
 * nothing at or below the one that drops out is accepted any more.
 */
export class ReplayWindows {
  readonly #highest: Float64Array;
  readonly #floor: Float64Array;
  readonly #second: Int32Array;
  readonly #epoch: Int32Array;
  readonly #bits: Uint32Array;
  readonly #marks: Float64Array;

  constructor(windows: number) {
    this.#highest = new Float64Array(windows);
    this.#floor = new Float64Array(windows);
    this.#second = new Int32Array(windows);
    this.#epoch = new Int32Array(windows);
    this.#bits = new Uint32Array(windows * BLOCKS);
    this.#marks = new Float64Array(windows * MARKS);
  }

  reset(window: number, epoch: number): void {
    this.#highest[window] = 0;
    this.#floor[window] = 0;
    this.#second[window] = 0;
    this.#epoch[window] = epoch;
    this.#bits.fill(0, window * BLOCKS, (window + 1) * BLOCKS);
    this.#marks.fill(0, window * MARKS, (window + 1) * MARKS);
  }

  /**
   * Accepts an id once. A later epoch starts the window anew; an earlier one is too old.
   *
   * @param packetId 1 or more. @param second whole seconds of a monotonic clock.
   */
  accept(window: number, epoch: number, packetId: number, second: number): ReplayOutcome {
    const epochHere = this.#epoch[window];
    if (epoch !== epochHere) {
      if (epoch < epochHere) return ReplayOutcome.TooOld;
      this.reset(window, epoch);
    }
    if (second !== this.#second[window]) this.#age(window, second);
    const highest = this.#highest[window];
    const base = window * BLOCKS;
    const position = packetId & (WINDOW_BITS - 1); // Ids are doubles of up to 48 bits, whose remainder is slow to take.
    const block = base + (position >>> 5);
    const bit = 1 << (position & 31);

    if (packetId > highest) {
      this.#advance(base, highest, packetId);
      this.#bits[block] |= bit;
      this.#highest[window] = packetId;
      this.#marks[window * MARKS + (second & (MARKS - 1))] = packetId;
      return ReplayOutcome.Newest;
    }
    if (highest - packetId >= REPLAY_WINDOW) return ReplayOutcome.TooOld;
    if ((this.#bits[block] & bit) !== 0) return ReplayOutcome.Replayed;
    if (packetId <= this.#floor[window]) return ReplayOutcome.TooOld;
    this.#bits[block] |= bit;
    return ReplayOutcome.Late;
  }

  /** Clears the blocks between the highest id and the new one. */
  #advance(base: number, highest: number, packetId: number): void {
    const from = Math.floor(highest / 32);
    const steps = Math.min(Math.floor(packetId / 32) - from, BLOCKS);
    for (let step = 1; step <= steps; step++) this.#bits[base + ((from + step) & (BLOCKS - 1))] = 0;
  }

  /** Moves the marks on: each second that ended keeps the highest id it ended with. */
  #age(window: number, second: number): void {
    const base = window * MARKS;
    const last = this.#second[window];
    const highest = this.#highest[window];
    for (let at = Math.max(last + 1, second - MARKS + 1); at <= second; at++) {
      const mark = base + (at & (MARKS - 1));
      this.#floor[window] = this.#marks[mark];
      this.#marks[mark] = highest;
    }
    if (second - last >= MARKS) this.#floor[window] = highest;
    this.#second[window] = second;
  }
}

export const ReplayOutcome = { Newest: 0, Late: 1, Replayed: 2, TooOld: 3 } as const;
export type ReplayOutcome = (typeof ReplayOutcome)[keyof typeof ReplayOutcome];

/** A power of two. */
const BLOCKS = 32;
const WINDOW_BITS = BLOCKS * 32;
/** One block less than there are bits: the block being filled is cleared as a whole. */
export const REPLAY_WINDOW = WINDOW_BITS - 32;
const MARKS = 16;
