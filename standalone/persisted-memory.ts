import type { DataPlaneMemory } from '../dataplane/process-messages.ts';
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
  readonly #onUnreadable: (reason: string) => void;
  readonly #leases = new PacedWrite(() => this.#write('leases'));
  readonly #totpSteps = new PacedWrite(() => this.#write('totpSteps'));
  #current: DataPlaneMemory;

  constructor(folder: StateFolder, writes: Pick<StateWrites, 'attempt'>, onUnreadable: (reason: string) => void) {
    this.#folder = folder;
    this.#writes = writes;
    this.#onUnreadable = onUnreadable;
    this.#current = { leases: this.#load('leases', isLease), totpSteps: this.#load('totpSteps', isTotpStep) };
  }

  get current(): DataPlaneMemory {
    return this.#current;
  }

  /** Replaces them, here at once and soon on disk. */
  keepLeases(leases: DataPlaneMemory['leases']): void {
    this.#current = { ...this.#current, leases: entriesOf({ leases }, 'leases', isLease) };
    void this.#leases.ask();
  }

  /** Replaces them, here at once; resolves when they are on disk, or reported. */
  keepCodes(totpSteps: DataPlaneMemory['totpSteps']): Promise<void> {
    this.#current = { ...this.#current, totpSteps: entriesOf({ totpSteps }, 'totpSteps', isTotpStep) };
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

  #load<T>(field: keyof typeof FILES, isEntry: (value: unknown) => value is T): readonly T[] {
    try {
      const text = this.#folder.read(FILES[field]);
      return text === undefined ? [] : entriesOf(JSON.parse(text), field, isEntry);
    } catch (error) {
      // Comforts only: starting without them is better than not starting. One-time codes expire in two minutes.
      this.#onUnreadable(messageOf(error));
      return [];
    }
  }
}

/** What is wrong in the file is left out: nothing in it may keep a gateway from starting. */
function entriesOf<T>(memory: unknown, field: string, isEntry: (value: unknown) => value is T): readonly T[] {
  const entries = isRecord(memory) ? memory[field] : undefined;
  return Array.isArray(entries) ? entries.filter(isEntry) : [];
}

function isLease(value: unknown): value is DataPlaneMemory['leases'][number] {
  if (!isRecord(value) || typeof value['identity'] !== 'string' || typeof value['address'] !== 'string') return false;
  return value['freedAt'] === null || Number.isFinite(value['freedAt']);
}

function isTotpStep(value: unknown): value is DataPlaneMemory['totpSteps'][number] {
  return isRecord(value) && typeof value['user'] === 'string' && Number.isSafeInteger(value['step']);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
