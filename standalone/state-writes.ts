import type { Logger } from '../dataplane/io/logger.ts';

/**
 * Writes to the state folder while a gateway runs. A full disk or a read-only folder is no reason to cut people off:
 * it is said when it begins and when it is over, and `trouble` holds it for the status meanwhile.
 */
export class StateWrites {
  readonly #log: Logger;
  #trouble: string | null = null;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** What went wrong with the last write; null when nothing did. */
  get trouble(): string | null {
    return this.#trouble;
  }

  attempt(write: () => void): void {
    try {
      write();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (this.#trouble === null) this.#log.error({ cause: reason }, 'The state folder could not be written');
      this.#trouble = reason;
      return;
    }
    if (this.#trouble !== null) this.#log.info('The state folder can be written again');
    this.#trouble = null;
  }
}
