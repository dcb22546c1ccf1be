import { isOpening } from './reset-gate.ts';

export interface ControlQueueOptions {
  readonly handle: (wire: Uint8Array, bytes: Uint8Array) => void;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
  /** Asks for `turn` to be called after the event loop has been round once. */
  readonly schedule: (turn: () => void) => void;
}

/**
 * Datagrams between the control socket and the engine. The socket's buffer holds some 250 of them; when thousands of
 * clients come at once, each needs milliseconds of TLS, and what finds the buffer full comes again after 2 s, 4 s, 8 s …,
 * until its client gives up. So everything is read at once and waits here, and handshakes that have begun go before
 * clients that only ask: those wait unanswered and unbegun, which costs nobody anything. The lane of the begun is short:
 * what waits for seconds has been sent again.
 *
 *   socket ──► begun: all but resets ──┐ first
 *        └───► openings: resets ───────┴ when nothing else waits, and one every OPENING_EVERY_MS
 */
export class ControlQueue {
  /** Datagrams that found their lane full. */
  dropped = 0;
  readonly #options: ControlQueueOptions;
  readonly #begun = new Lane(BEGUN_MOST);
  readonly #openings = new Lane(OPENINGS_MOST);
  #isScheduled = false;
  #openedAt = -Infinity;

  constructor(options: ControlQueueOptions) {
    this.#options = options;
  }

  /** Keeps both arrays. */
  push(wire: Uint8Array, bytes: Uint8Array): void {
    const lane = isOpening(bytes[0]) ? this.#openings : this.#begun;
    if (!lane.push({ wire, bytes })) this.dropped += 1;
  }

  /** Handles what waits, for TURN_MS at most; the rest is handled in later turns. */
  turn(): void {
    const { now, handle } = this.#options;
    const begin = now();
    for (let at = begin, next = this.#next(at); next !== undefined; next = this.#next(at)) {
      handle(next.wire, next.bytes);
      at = now();
      if (at - begin >= TURN_MS) break;
    }
    if (this.#isScheduled || (this.#begun.isEmpty && this.#openings.isEmpty)) return;
    this.#isScheduled = true;
    this.#options.schedule(() => {
      this.#isScheduled = false;
      this.turn();
    });
  }

  #next(now: number): Waiting | undefined {
    const isOpeningDue = this.#begun.isEmpty || now - this.#openedAt >= OPENING_EVERY_MS;
    const opening = isOpeningDue ? this.#openings.shift() : undefined;
    if (opening !== undefined) this.#openedAt = now;
    return opening ?? this.#begun.shift();
  }
}

interface Waiting {
  readonly wire: Uint8Array;
  readonly bytes: Uint8Array;
}

/** First in, first out, of bounded length. */
class Lane {
  readonly #most: number;
  #items: (Waiting | undefined)[] = [];
  #first = 0;

  constructor(most: number) {
    this.#most = most;
  }

  get isEmpty(): boolean {
    return this.#first === this.#items.length;
  }

  push(item: Waiting): boolean {
    if (this.#items.length - this.#first >= this.#most) return false;
    this.#items.push(item);
    return true;
  }

  shift(): Waiting | undefined {
    const item = this.#items[this.#first];
    if (item === undefined) return undefined;
    this.#items[this.#first] = undefined;
    this.#first += 1;
    if (this.#first === this.#items.length || this.#first > this.#most) {
      this.#items = this.#items.slice(this.#first);
      this.#first = 0;
    }
    return item;
  }
}

/** Short enough for the event loop's other work, a handful of TLS steps long. */
const TURN_MS = 8;
const OPENING_EVERY_MS = 50;
/** About a second's work. */
const BEGUN_MOST = 1_024;
/** An answer is a matter of microseconds; who finds no place here asks again after 2 s. */
const OPENINGS_MOST = 4_096;
