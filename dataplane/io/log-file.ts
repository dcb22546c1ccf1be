import { fstatSync, writeSync } from 'node:fs';
import type { Writable } from 'node:stream';

/**
 * Lines for a file or a device. Node's own stream for the standard output ends for good with the first write that fails;
 * a disk that is full will not always be.
 */
export class LogFile {
  readonly #write: (bytes: Uint8Array) => number;
  /** The last write stopped within a line. */
  #isTorn = false;

  /** @param write takes as many bytes as it can, and throws when that is none */
  constructor(write: (bytes: Uint8Array) => number) {
    this.#write = write;
  }

  /** Writes whole lines as far as there is room. @returns how many are lost. */
  append(lines: string): number {
    const bytes = Buffer.from(this.#isTorn ? `\n${lines}` : lines);
    let written = 0;
    try {
      while (written < bytes.length) written += this.#write(bytes.subarray(written));
      this.#isTorn = false;
      return 0;
    } catch {
      const unwritten = bytes.subarray(this.#isTorn ? Math.max(1, written) : written);
      if (written > 0) this.#isTorn = bytes[written - 1] !== LINE_FEED;
      return unwritten.filter((byte) => byte === LINE_FEED).length;
    }
  }
}

/** Null where Node's stream will do: pipes and sockets, which it writes without blocking, and terminals. */
export function logFileBehind(stream: Writable): LogFile | null {
  if (stream !== process.stdout || process.stdout.isTTY) return null;
  const { fd } = process.stdout;
  const stats = fstatSync(fd);
  return stats.isFIFO() || stats.isSocket() ? null : new LogFile((bytes) => writeSync(fd, bytes));
}

const LINE_FEED = 10;
