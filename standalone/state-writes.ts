import type { Logger } from '../dataplane/io/logger.ts';

/**
 * Writes to the state folder while a gateway runs. A full disk or a read-only folder is no reason to cut people off:
 * it is said when it begins and when it is over, and `trouble` holds it for the status meanwhile.
 */
export class StateWrites {
  readonly #log: Pick<Logger, 'error' | 'info'>;
  /** By file, what has not been written yet. */
  readonly #owed = new Map<string, () => void>();
  #retry: NodeJS.Timeout | undefined;
  #closed = false;
  #trouble: string | null = null;

  constructor(log: Pick<Logger, 'error' | 'info'>) {
    this.#log = log;
  }

  /** What went wrong with the last write that failed; null when none is owed. */
  get trouble(): string | null {
    return this.#trouble;
  }

  /**
   * Writes a file, and after it those that are owed. Only when none is left is the trouble over: on a disk that is nearly
   * full a short file finds room and a long one does not. Where nothing else is written for long, they are tried again
   * every 10 s.
   */
  attempt(file: string, write: () => void): void {
    this.#owed.delete(file);
    if (this.#try(file, write)) this.#writeOwed();
    else this.#schedule();
  }

  /** Tries what is owed a last time. Nothing may be written by itself once the folder is somebody else's. */
  close(): void {
    this.#closed = true;
    this.#writeOwed();
  }

  #writeOwed(): void {
    for (const [name, owed] of this.#owed) this.#try(name, owed);
    this.#schedule();
    if (this.#owed.size > 0) return;
    if (this.#trouble !== null) this.#log.info('The state folder can be written again');
    this.#trouble = null;
  }

  #schedule(): void {
    clearTimeout(this.#retry);
    if (this.#owed.size > 0 && !this.#closed) this.#retry = setTimeout(() => this.#writeOwed(), RETRY_MS).unref();
  }

  #try(file: string, write: () => void): boolean {
    try {
      write();
      this.#owed.delete(file);
      return true;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (this.#trouble === null) this.#log.error({ cause: reason }, 'The state folder could not be written');
      this.#trouble = reason;
      this.#owed.set(file, write);
      return false;
    }
  }
}

/** Each try is a write and two fsyncs for each file, during which the parent does nothing else. */
const RETRY_MS = 10_000;
