import type { Readable } from 'node:stream';
import { createInterface } from 'node:readline';
import { WaitError } from './wait.ts';

/** Collects the lines of a stream and lets tests wait for one that matches. */
export class LogLines {
  readonly lines: string[] = [];
  readonly #waiters = new Set<() => void>();
  /** Streams that have not ended; undefined before the first one. */
  #open: number | undefined;

  add(stream: Readable): void {
    this.#open = (this.#open ?? 0) + 1;
    const reader = createInterface({ input: stream });
    reader.on('line', (line) => {
      this.lines.push(line);
      this.#wake();
    });
    reader.on('close', () => {
      this.#open = (this.#open ?? 0) - 1;
      this.#wake();
    });
  }

  /** A place to search from: only lines after it count. */
  mark(): number {
    return this.lines.length;
  }

  /** Whether nothing more can come. */
  get ended(): boolean {
    return this.#open === 0;
  }

  /** The first line at or after `from` that matches. @throws WaitError with the last lines when time runs out or the stream ends. */
  async waitFor(
    pattern: RegExp,
    options: { readonly from?: number; readonly timeoutMs?: number } = {},
  ): Promise<string> {
    const timeoutMs = options.timeoutMs ?? 45_000;
    const deadline = performance.now() + timeoutMs;
    for (let next = options.from ?? 0; ;) {
      while (next < this.lines.length) {
        const line = this.lines[next++];
        if (line !== undefined && pattern.test(line)) return line;
      }
      const left = deadline - performance.now();
      if (left <= 0 || this.#open === 0) {
        const why = this.#open === 0 ? 'The log ended without' : `Waited ${timeoutMs} ms in vain for`;
        throw new WaitError(`${why} ${pattern}; its last lines:\n${this.lines.slice(-40).join('\n')}`);
      }
      await this.#nextChange(left);
    }
  }

  #nextChange(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(done);
        resolve();
      };
      const timer = setTimeout(done, timeoutMs);
      this.#waiters.add(done);
    });
  }

  #wake(): void {
    for (const waiter of this.#waiters) waiter();
  }
}
