/**
 * Decides how long a thread looks away before it takes what has arrived. A sender that does not segment would
 * otherwise wake the thread for every packet or two, which costs both of them more than the packet does; after a pause
 * there is a batch, one system call moves it, and TCP segments leave as one.
 *
 * Nobody waits when little arrives, when batches are large as they are, or when most of the traffic goes to clients:
 * what then comes from them is acknowledgements, and who waits with those slows down the streams that they drive.
 * A pause ends before the packets expected in it could fill a socket's buffer.
 */
export class WakePacing {
  /** Packets from clients per microsecond, smoothed over MEMORY_US. */
  #rate = 0;
  /** Bytes from clients less those to clients, per microsecond, smoothed likewise. */
  #balance = 0;
  #lastUs = 0;

  /**
   * @param packets from clients in the turn that ends, of `bytesIn` in all; beside them came `bytesOut` for clients.
   * @param nowMs when the turn began. @returns microseconds to look away, 0 for none.
   */
  pauseAfter(packets: number, bytesIn: number, bytesOut: number, nowMs: number): number {
    const nowUs = nowMs * 1000;
    const elapsedUs = Math.max(1, nowUs - this.#lastUs);
    const weight = Math.min(1, elapsedUs / MEMORY_US);
    this.#lastUs = nowUs;
    this.#rate += (packets / elapsedUs - this.#rate) * weight;
    this.#balance += ((bytesIn - bytesOut) / elapsedUs - this.#balance) * weight;
    if (packets === 0 || packets >= LARGE_BATCH || this.#balance <= 0) return 0;
    if (this.#rate * PAUSE_MAX_US < WORTHWHILE) return 0;
    return Math.min(PAUSE_MAX_US, Math.floor(WANTED_BATCH / this.#rate));
  }
}

const PAUSE_MAX_US = 200;
const MEMORY_US = 2_000;
/** Packets: fewer than this are not worth a pause. */
const WORTHWHILE = 2.5;
/** A quarter of what fits into a socket's buffer of the kernel's default size, 212,992 bytes. */
const WANTED_BATCH = 24;
const LARGE_BATCH = 32;
