import type { DataPlaneMemory } from '../dataplane/process-messages.ts';
import type { StateFolder } from './state-folder.ts';

const FILE = 'memory.json';
const EMPTY: DataPlaneMemory = { leases: [], totpSteps: [] };

/** Sticky addresses and used one-time codes over restarts. A write that fails is reported and tried with the next. */
export class PersistedMemory {
  readonly #folder: StateFolder;
  readonly #onTrouble: (reason: string) => void;
  #current: DataPlaneMemory;
  #failing = false;

  constructor(folder: StateFolder, onTrouble: (reason: string) => void) {
    this.#folder = folder;
    this.#onTrouble = onTrouble;
    this.#current = this.#load();
  }

  get current(): DataPlaneMemory {
    return this.#current;
  }

  /** Replaces it, here at once and on disk. */
  update(memory: DataPlaneMemory): void {
    this.#current = memory;
    try {
      this.#folder.write(FILE, `${JSON.stringify({ formatVersion: 1, ...memory })}\n`);
      this.#failing = false;
    } catch (error) {
      if (!this.#failing) this.#onTrouble(messageOf(error));
      this.#failing = true;
    }
  }

  #load(): DataPlaneMemory {
    try {
      const text = this.#folder.read(FILE);
      if (text === undefined) return EMPTY;
      const memory: unknown = JSON.parse(text);
      return { leases: entriesOf(memory, 'leases', isLease), totpSteps: entriesOf(memory, 'totpSteps', isTotpStep) };
    } catch (error) {
      // Comforts only: starting without them is better than not starting. One-time codes expire in two minutes.
      this.#onTrouble(messageOf(error));
      return EMPTY;
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
