import type { DataPlaneMemory } from '../dataplane/process-messages.ts';
import type { Ipv4Prefix } from '../net/ipv4-prefix.ts';
import { leasesIn, totpStepsIn, type Entries } from './memory-entries.ts';
import { PacedWrite } from './paced-write.ts';
import type { StateFolder } from './state-folder.ts';
import type { StateWrites } from './state-writes.ts';

/** Two files: the leases may be megabytes, and a login waits for its code to be written. */
const FILES = { leases: 'leases.json', totpSteps: 'used-codes.json' } as const;

/**
 * Sticky addresses and used one-time codes over restarts. What a data plane says is no more trusted than what is on disk:
 * the next one has to start with it.
 */
export class PersistedMemory {
  readonly #folder: StateFolder;
  readonly #writes: Pick<StateWrites, 'attempt'>;
  readonly #clientCidr: Ipv4Prefix;
  readonly #onUnreadable: (reason: string) => void;
  readonly #leases = new PacedWrite(() => this.#write('leases'));
  readonly #totpSteps = new PacedWrite(() => this.#write('totpSteps'));
  #current: DataPlaneMemory;

  constructor(
    folder: StateFolder,
    writes: Pick<StateWrites, 'attempt'>,
    clientCidr: Ipv4Prefix,
    onUnreadable: (reason: string) => void,
  ) {
    this.#folder = folder;
    this.#writes = writes;
    this.#clientCidr = clientCidr;
    this.#onUnreadable = onUnreadable;
    this.#current = {
      leases: this.#load('leases', (leases) => leasesIn(leases, clientCidr)),
      totpSteps: this.#load('totpSteps', totpStepsIn),
    };
  }

  get current(): DataPlaneMemory {
    return this.#current;
  }

  /** Replaces them, here at once and soon on disk. */
  keepLeases(leases: DataPlaneMemory['leases']): void {
    this.#current = { ...this.#current, leases: leasesIn(leases, this.#clientCidr).kept };
    void this.#leases.ask();
  }

  /** Replaces them, here at once; resolves when they are on disk, or reported. */
  keepCodes(totpSteps: DataPlaneMemory['totpSteps']): Promise<void> {
    this.#current = { ...this.#current, totpSteps: totpStepsIn(totpSteps).kept };
    return this.#totpSteps.ask();
  }

  /** Writes what still waits. */
  flush(): void {
    this.#leases.flush();
    this.#totpSteps.flush();
  }

  #write(field: keyof typeof FILES): void {
    const file = FILES[field];
    this.#writes.attempt(file, () =>
      this.#folder.write(file, `${JSON.stringify({ formatVersion: 1, [field]: this.#current[field] })}\n`),
    );
  }

  /** What is wrong in the file is left out: nothing in it may keep a gateway from starting. */
  #load<T>(field: keyof typeof FILES, entriesIn: (value: unknown) => Entries<T>): readonly T[] {
    try {
      const text = this.#folder.read(FILES[field]);
      if (text === undefined) return [];
      const { kept, dropped } = entriesIn((JSON.parse(text) as Partial<Record<string, unknown>> | null)?.[field]);
      const all = kept.length + dropped;
      if (dropped > 0)
        this.#onUnreadable(`${FILES[field]}: ${dropped} of ${all} entries have no meaning or no room here`);
      return kept;
    } catch (error) {
      // Comforts only: starting without them is better than not starting. One-time codes expire in two minutes.
      this.#onUnreadable(messageOf(error));
      return [];
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
