import type { DataPlaneMemory } from '../dataplane/process-messages.ts';
import type { StateFolder } from './state-folder.ts';

/** Two files: the leases may be megabytes, and a login waits for its code to be written. */
const FILES = { leases: 'leases.json', totpSteps: 'used-codes.json' } as const;

/**
 * Sticky addresses and used one-time codes over restarts. A write that fails is reported and tried with the next. What a
 * data plane says is no more trusted than what is on disk: the next one has to start with it.
 */
export class PersistedMemory {
  readonly #folder: StateFolder;
  readonly #onTrouble: (reason: string) => void;
  #current: DataPlaneMemory;
  #failing = false;

  constructor(folder: StateFolder, onTrouble: (reason: string) => void) {
    this.#folder = folder;
    this.#onTrouble = onTrouble;
    this.#current = { leases: this.#load('leases', isLease), totpSteps: this.#load('totpSteps', isTotpStep) };
  }

  get current(): DataPlaneMemory {
    return this.#current;
  }

  /** Replaces them, here at once and on disk. */
  keepLeases(leases: DataPlaneMemory['leases']): void {
    this.#current = { ...this.#current, leases: entriesOf({ leases }, 'leases', isLease) };
    this.#write('leases');
  }

  /** Replaces them, here and on disk, before it returns. */
  keepCodes(totpSteps: DataPlaneMemory['totpSteps']): void {
    this.#current = { ...this.#current, totpSteps: entriesOf({ totpSteps }, 'totpSteps', isTotpStep) };
    this.#write('totpSteps');
  }

  #write(field: keyof typeof FILES): void {
    try {
      this.#folder.write(FILES[field], `${JSON.stringify({ formatVersion: 1, [field]: this.#current[field] })}\n`);
      this.#failing = false;
    } catch (error) {
      if (!this.#failing) this.#onTrouble(messageOf(error));
      this.#failing = true;
    }
  }

  #load<T>(field: keyof typeof FILES, isEntry: (value: unknown) => value is T): readonly T[] {
    try {
      const text = this.#folder.read(FILES[field]);
      return text === undefined ? [] : entriesOf(JSON.parse(text), field, isEntry);
    } catch (error) {
      // Comforts only: starting without them is better than not starting. One-time codes expire in two minutes.
      this.#onTrouble(messageOf(error));
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
