import { Opcode, opcodeOf } from '../protocol/opcode.ts';

/**
 * Lets through as many session openings as can be worth a look: a flood of them costs two comparisons each. It judges
 * by number alone, in short windows, so that an honest client's opening has its chance at any moment of a flood; who may
 * be answered is decided behind it, where the packet has been authenticated.
 */
export class ResetGate {
  /** Openings turned away. */
  refused = 0;
  #window = -1;
  #admitted = 0;

  /** @param nowMs of a monotonic clock */
  admits(firstByte: number | undefined, nowMs: number): boolean {
    if (!isOpening(firstByte)) return true;
    const window = Math.floor(nowMs / WINDOW_MS);
    if (window !== this.#window) {
      this.#window = window;
      this.#admitted = 0;
    }
    if (this.#admitted >= OPENINGS_PER_WINDOW) {
      this.refused += 1;
      return false;
    }
    this.#admitted += 1;
    return true;
  }
}

/** Whether a datagram that begins like this asks for a session. */
export function isOpening(firstByte: number | undefined): boolean {
  const opcode = opcodeOf(firstByte ?? 0);
  return opcode === Opcode.HardResetClientV2 || opcode === Opcode.HardResetClientV3;
}

const WINDOW_MS = 10;
/** 20,000 a second: four times what is ever answered, and about a seventh of a core. */
const OPENINGS_PER_WINDOW = 200;
