import type { Writable } from 'node:stream';

/**
 * Lines for a stream that may stop reading. Never waits: what does not fit in the bound is dropped
 * and counted, and a closed reader turns everything into drops.
 *
 * The stream must queue instead of blocking, as `process.stdout` does on a pipe; an asynchronous
 * write on the thread pool would hang the exit of the process behind a reader that stopped.
 */
export class LogSink {
  readonly #stream: Writable;
  readonly #maxQueuedBytes: number;
  #dropped = 0;
  #closed = false;

  constructor(stream: Writable, maxQueuedBytes = DEFAULT_QUEUED_BYTES) {
    this.#stream = stream;
    this.#maxQueuedBytes = maxQueuedBytes;
    stream.on('error', () => {
      this.#closed = true;
    });
  }

  /** Lines lost since the start. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Takes one line with its line feed. */
  write(line: string): void {
    if (this.#closed || this.#stream.writableLength + line.length > this.#maxQueuedBytes) this.#dropped += 1;
    else this.#stream.write(line);
  }

  /** Resolves when the reader has taken everything, or after `limitMs`. */
  async flush(limitMs: number): Promise<void> {
    if (this.#closed || this.#stream.writableLength === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, limitMs);
    // Writes keep their order: this one is done when all before it are.
    this.#stream.write('', () => resolve());
    await promise;
    clearTimeout(timer);
  }
}

const DEFAULT_QUEUED_BYTES = 4_194_304;
