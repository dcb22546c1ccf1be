import type { Writable } from 'node:stream';
import { type LogFile, logFileBehind } from './log-file.ts';

/**
 * Lines for a stream that may stop reading, or a file that may find no room. Never waits: what does not fit in the bound,
 * or on the disk, is dropped and counted, and the next line that is taken says how many were. A closed reader turns
 * everything into drops.
 *
 * A line leaves at once, those that follow it within 100 ms together: waking the reader for each of them costs a login
 * as much as verifying a certificate does.
 *
 * The stream must queue instead of blocking, as `process.stdout` does on a pipe; an asynchronous
 * write on the thread pool would hang the exit of the process behind a reader that stopped.
 */
export class LogSink {
  #stream: Writable;
  /** Written to instead of the stream. */
  #file: LogFile | null;
  readonly #maxQueuedBytes: number;
  readonly #onTimer = (): void => this.#release();
  /** What is held must not be lost with the process. */
  readonly #onExit = (): void => this.#release();
  #held = '';
  #timer: NodeJS.Timeout | undefined;
  #dropped = 0;
  /** Of those, nobody was told yet. */
  #untold = 0;
  #closed = false;

  constructor(stream: Writable, maxQueuedBytes = DEFAULT_QUEUED_BYTES, file = logFileBehind(stream)) {
    this.#stream = stream;
    this.#file = file;
    this.#maxQueuedBytes = maxQueuedBytes;
    this.#closeOnError(stream);
  }

  /** Goes on with another stream. What the old one had not passed on is lost. */
  redirect(stream: Writable): void {
    if (stream === this.#stream) return;
    this.#stream = stream;
    this.#file = logFileBehind(stream);
    this.#closed = false;
    this.#closeOnError(stream);
  }

  /** Lines lost since the start. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Takes one line with its line feed. */
  write(line: string): void {
    if (this.#closed || this.#stream.writableLength + this.#held.length + line.length > this.#maxQueuedBytes) {
      this.#drop(1);
      return;
    }
    this.#held += line;
    if (this.#timer === undefined) this.#release();
  }

  /** Resolves when the reader has taken everything, or after `limitMs`. */
  async flush(limitMs: number): Promise<void> {
    this.#release();
    if (this.#closed || this.#stream.writableLength === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, limitMs);
    // Writes keep their order: this one is done when all before it are.
    this.#stream.write('', () => resolve());
    await promise;
    clearTimeout(timer);
  }

  #closeOnError(stream: Writable): void {
    stream.on('error', () => {
      if (stream === this.#stream) this.#closed = true;
    });
  }

  /** Writes what is held; the lines of the next 100 ms will be. */
  #release(): void {
    const lines = this.#held;
    this.#held = '';
    if (lines !== '') {
      if (this.#untold > 0 && this.#put(noticeOf(this.#untold)) === 0) this.#untold = 0;
      this.#drop(this.#put(lines));
    }
    if (this.#timer === undefined) process.on('exit', this.#onExit);
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (lines === '') process.off('exit', this.#onExit);
    else this.#timer = setTimeout(this.#onTimer, TOGETHER_MS).unref();
  }

  /** @returns how many lines are lost already. */
  #put(lines: string): number {
    if (this.#file !== null) return this.#file.append(lines);
    if (this.#closed) return lines.split('\n').length - 1;
    this.#stream.write(lines);
    return 0;
  }

  #drop(count: number): void {
    this.#dropped += count;
    this.#untold += count;
  }
}

function noticeOf(lost: number): string {
  return `${JSON.stringify({ level: 'warn', time: new Date().toISOString(), lost, msg: 'Log lines were lost' })}\n`;
}

const TOGETHER_MS = 100;
const DEFAULT_QUEUED_BYTES = 4_194_304;
