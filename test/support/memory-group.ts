import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { waitFor } from './wait.ts';

/** A control group for memory. Processes started while this one is in it stay in it. */
export class MemoryGroup implements AsyncDisposable {
  readonly #folder: string;
  readonly #usage: string;
  readonly #limit: string;

  /** Undefined where none can be made: no root, or a container that sees its groups but may not change them. */
  static make(name: string): MemoryGroup | undefined {
    for (const { parent, usage, limit } of versions()) {
      const folder = join(parent, name);
      try {
        mkdirSync(folder);
      } catch {
        continue;
      }
      if (existsSync(join(folder, usage))) return new MemoryGroup(folder, usage, limit);
      rmdirSync(folder);
    }
    return undefined;
  }

  private constructor(folder: string, usage: string, limit: string) {
    this.#folder = folder;
    this.#usage = usage;
    this.#limit = limit;
  }

  /** Runs `start` with this process in the group, and comes back. */
  async during<T>(start: () => Promise<T>): Promise<T> {
    moveTo(this.#folder);
    try {
      return await start();
    } finally {
      moveTo(join(this.#folder, '..'));
    }
  }

  /** Pages of files among them. */
  usedBytes(): number {
    return Number(readFileSync(join(this.#folder, this.#usage), 'utf8'));
  }

  limit(bytes: number): void {
    writeFileSync(join(this.#folder, this.#limit), String(bytes));
  }

  /** Once its processes have been killed; they stay until Node has heard of their end. */
  async [Symbol.asyncDispose](): Promise<void> {
    const isEmpty = (): boolean => readFileSync(join(this.#folder, 'cgroup.procs'), 'utf8') === '';
    await waitFor('an empty control group', isEmpty);
    rmdirSync(this.#folder);
  }
}

/** Where groups of tests are, in either version. */
export function memoryGroupParents(): readonly string[] {
  return versions().map(({ parent }) => parent);
}

function versions(): readonly MemoryGroupVersion[] {
  const groups = readFileSync('/proc/self/cgroup', 'utf8');
  const folder = (root: string, own: RegExp): string => join(root, own.exec(groups)?.[1] ?? '/');
  return [
    {
      parent: folder('/sys/fs/cgroup/memory', /^\d+:memory:(.+)$/m),
      usage: 'memory.usage_in_bytes',
      limit: 'memory.limit_in_bytes',
    },
    { parent: folder('/sys/fs/cgroup', /^0::(.+)$/m), usage: 'memory.current', limit: 'memory.max' },
  ];
}

interface MemoryGroupVersion {
  readonly parent: string;
  readonly usage: string;
  readonly limit: string;
}

function moveTo(folder: string): void {
  writeFileSync(join(folder, 'cgroup.procs'), String(process.pid));
}
