import type { MemoryBound } from './memory-bounds.ts';

export interface MemoryWatchOptions {
  readonly read: () => readonly MemoryBound[];
  /** Called when memory becomes short, with what is short, and when it suffices again. */
  readonly onChange: (short: MemoryBound | null) => void;
}

/**
 * Looks several times a second whether there is room for more clients, once a second while there is plenty. What is kept
 * back is for those who are there: their renewals, and a collection of garbage. Beyond a limit the process would be
 * killed, and everybody with it.
 */
export class MemoryWatch {
  readonly #options: MemoryWatchOptions;
  #timer: NodeJS.Timeout | undefined;
  #isShort = false;

  constructor(options: MemoryWatchOptions) {
    this.#options = options;
    this.#look();
  }

  #look(): void {
    const bounds = this.#options.read();
    const isWithin = (factor: number) => (bound: MemoryBound) =>
      bound.limitBytes - bound.usedBytes < factor * keptBackBytes(bound);
    // A look opens half a dozen files. Logins take some 20 MB in a second, less than what lies between.
    this.#timer = setTimeout(() => this.#look(), bounds.some(isWithin(PLENTY)) ? SOON_MS : LATER_MS);
    // Once short it must get clearly better, lest every client that leaves lets in the next.
    const short = bounds.find(isWithin(this.#isShort ? RELIEF : 1));
    if ((short !== undefined) === this.#isShort) return;
    this.#isShort = short !== undefined;
    this.#options.onChange(short ?? null);
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}

/** A twentieth, within bounds. Where what is counted comes in large pieces, stacks of threads for one, the bounds are higher. */
function keptBackBytes({ name, limitBytes }: MemoryBound): number {
  const least = name === 'data size' || name === 'address space' ? 64 * MIB : 24 * MIB;
  return Math.min(128 * MIB, Math.max(least, limitBytes / 20));
}

const MIB = 1024 * 1024;
const SOON_MS = 250;
const LATER_MS = 1_000;
const RELIEF = 1.5;
const PLENTY = 4;
