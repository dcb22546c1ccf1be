/**
 * How fast one TCP connection may hand control frames to the control thread. Nobody who means well comes near it: a login
 * takes a few dozen frames, one with a long assertion a few hundred, at most a handful of them at once.
 */
export class ControlPace {
  #allowance = BURST;
  #at = 0;

  /** @param frames handed over at `now`. @returns milliseconds for which nothing more is to be read; 0 for none. */
  pauseAfter(frames: number, now: number): number {
    if (frames === 0) return 0;
    this.#allowance = Math.min(BURST, this.#allowance + ((now - this.#at) * PER_SECOND) / 1000) - frames;
    this.#at = now;
    return this.#allowance >= 0 ? 0 : Math.ceil((-this.#allowance * 1000) / PER_SECOND);
  }
}

const BURST = 128;
const PER_SECOND = 128;
