import type { DataPlaneMemory, DataPlaneMessage } from '../process-messages.ts';

export interface CodeReportsOptions {
  readonly read: () => DataPlaneMemory['totpSteps'];
  readonly send: (message: Extract<DataPlaneMessage, { kind: 'codesUsed' }>) => void;
}

/**
 * Tells the supervisor the used one-time codes, and a login when its own is kept. One report at a time: the next, with
 * everything that was used meanwhile, leaves when it is answered.
 */
export class CodeReports {
  readonly #options: CodeReportsOptions;
  #sequence = 0;
  #told: PromiseWithResolvers<void> | undefined;
  #next: PromiseWithResolvers<void> | undefined;

  constructor(options: CodeReportsOptions) {
    this.#options = options;
  }

  /** Resolves when what `read` holds now is kept. */
  keep(): Promise<void> {
    this.#next ??= Promise.withResolvers();
    const { promise } = this.#next;
    if (this.#told === undefined) this.#tell();
    return promise;
  }

  /** The supervisor has written what the report of this number told. */
  kept(sequence: number): void {
    if (this.#told === undefined || sequence !== this.#sequence) return;
    this.#told.resolve();
    this.#told = undefined;
    if (this.#next !== undefined) this.#tell();
  }

  #tell(): void {
    this.#told = this.#next;
    this.#next = undefined;
    this.#sequence += 1;
    this.#options.send({ kind: 'codesUsed', sequence: this.#sequence, totpSteps: this.#options.read() });
  }
}
