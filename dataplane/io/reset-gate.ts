import { Opcode, opcodeOf } from '../protocol/opcode.ts';

/**
 * Lets through as many session openings as can be worth a look: a flood of them costs two comparisons each. A crowd that
 * comes back at once is let in whole, as far as openings can wait; then it judges by number alone, a few each
 * millisecond, so that an honest client's opening has its chance at any moment of a flood. Who may be answered is decided
 * behind it, where the packet has been authenticated.
 */
export class ResetGate {
  /** Openings turned away. */
  refused = 0;
  #left = OPENINGS_AT_ONCE;
  #countedAt = -Infinity;

  /** @param nowMs of a monotonic clock */
  admits(firstByte: number | undefined, nowMs: number): boolean {
    if (!isOpening(firstByte)) return true;
    this.#left = Math.min(OPENINGS_AT_ONCE, this.#left + (nowMs - this.#countedAt) * OPENINGS_PER_MS);
    this.#countedAt = nowMs;
    if (this.#left < 1) {
      this.refused += 1;
      return false;
    }
    this.#left -= 1;
    return true;
  }
}

/** Whether a datagram that begins like this asks for a session. */
export function isOpening(firstByte: number | undefined): boolean {
  const opcode = opcodeOf(firstByte ?? 0);
  return opcode === Opcode.HardResetClientV2 || opcode === Opcode.HardResetClientV3;
}

/** 20,000 a second: four times what is ever answered, and about a seventh of a core. */
const OPENINGS_PER_MS = 20;
/** As many as find a place in the queue behind. */
const OPENINGS_AT_ONCE = 4_000;
