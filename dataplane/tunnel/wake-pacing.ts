/**
 * Decides how long a thread looks away before it takes what has arrived. A sender that does not segment would
 * otherwise wake the thread for every packet or two, which costs both of them more than the packet does; after a pause
 * there is a batch, one system call moves it, and TCP segments leave as one.
 *
 * Nobody waits when little arrives, and nobody when batches are large as they are. A pause ends before the packets
 * expected in it could fill a socket's buffer, and adds less than PAUSE_MAX_US to a round trip.
 */
export class WakePacing {
  /** Packets per microsecond, smoothed over MEMORY_US. */
  #rate = 0;
  #lastUs = 0;

  /** @param packets taken in the turn that ends. @param nowMs when it began. @returns microseconds to look away, 0 for none. */
  pauseAfter(packets: number, nowMs: number): number {
    const nowUs = nowMs * 1000;
    const elapsedUs = Math.max(1, nowUs - this.#lastUs);
    this.#lastUs = nowUs;
    this.#rate += (packets / elapsedUs - this.#rate) * Math.min(1, elapsedUs / MEMORY_US);
    if (packets === 0 || packets >= LARGE_BATCH || this.#rate * PAUSE_MAX_US < WORTHWHILE) return 0;
    return Math.min(PAUSE_MAX_US, Math.floor(WANTED_BATCH / this.#rate));
  }
}

const PAUSE_MAX_US = 200;
const MEMORY_US = 2_000;
/** Packets: fewer than this are not worth a pause. */
const WORTHWHILE = 4;
/** A quarter of what fits into a socket's buffer of the kernel's default size, 212,992 bytes. */
const WANTED_BATCH = 24;
const LARGE_BATCH = 32;
