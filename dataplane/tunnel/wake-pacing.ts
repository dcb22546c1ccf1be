/**
 * Decides how long a thread looks away before it takes what has arrived. A sender that does not segment would
 * otherwise wake the thread for every packet or two, which costs both of them more than the packet does; after a pause
 * there is a batch, one system call moves it, and TCP segments leave as one.
 *
 * Nobody waits when little arrives, or when batches are large as they are, in either direction: what fills the TUN's
 * queue must not wait because of a few packets from clients, or from strangers. Streams to a client are driven by its
 * acknowledgements: whoever pauses must have passed on what the last of them brought.
 * A pause ends before the packets expected in it could fill a socket's buffer.
 */
export class WakePacing {
  /** Packets from clients per microsecond, smoothed over MEMORY_US. */
  #rate = 0;
  #lastUs = 0;

  /**
   * @param packets from clients in the turn that ends. @param reads packets and super-packets from the TUN in it.
   * @param nowMs when it began. @returns microseconds to look away, 0 for none.
   */
  pauseAfter(packets: number, reads: number, nowMs: number): number {
    const nowUs = nowMs * 1000;
    const elapsedUs = Math.max(1, nowUs - this.#lastUs);
    this.#lastUs = nowUs;
    this.#rate += (packets / elapsedUs - this.#rate) * Math.min(1, elapsedUs / MEMORY_US);
    if (packets === 0 || packets >= LARGE_BATCH || reads >= MANY_READS) return 0;
    if (this.#rate * PAUSE_MAX_US < WORTHWHILE) return 0;
    return Math.min(PAUSE_MAX_US, Math.floor(WANTED_BATCH / this.#rate));
  }
}

const PAUSE_MAX_US = 200;
const MEMORY_US = 2_000;
/** Packets: fewer than this are not worth a pause. */
const WORTHWHILE = 1.5;
/** A quarter of what fits into a socket's buffer of the kernel's default size, 212,992 bytes. */
const WANTED_BATCH = 24;
const LARGE_BATCH = 32;
/** As many super-packets fill a batch; of single packets it is a quarter. */
const MANY_READS = 16;
