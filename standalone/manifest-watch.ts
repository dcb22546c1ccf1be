import { watch, type FSWatcher } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { manifestPaths } from './read-manifests.ts';

export interface ManifestWatchOptions {
  readonly paths: readonly string[];
  /** Called with the set at rest and changed since the last call; the next call waits for this one. */
  readonly onChange: () => Promise<void>;
  /** Whether the set is to be taken although no file has changed; asked with each poll. */
  readonly isDue?: () => boolean;
  /** How long nothing must change before the set is taken. */
  readonly restMs?: number;
  /** Notifications don't cover links to elsewhere, and network file systems send none. */
  readonly pollMs?: number;
}

/**
 * Watches manifest files and folders. Folders are watched, not files, because editors and `kubectl`-style
 * writers replace files by rename.
 */
export class ManifestWatch {
  readonly #options: Required<ManifestWatchOptions>;
  readonly #watchers = new Map<string, { readonly watcher: FSWatcher; readonly inode: number }>();
  readonly #poll: NodeJS.Timeout;
  #taken: string | undefined;
  #looking: Promise<void> | undefined;
  #again = false;
  #closed = false;

  constructor(options: ManifestWatchOptions) {
    this.#options = { restMs: 50, pollMs: 1_000, isDue: () => false, ...options };
    this.#poll = setInterval(() => this.look(this.#options.isDue() ? 'forget' : 'compare'), this.#options.pollMs);
  }

  /** Remembers the present state as known and starts. To be awaited before the files are read for the first time. */
  async start(): Promise<void> {
    await this.#watchFolders();
    this.#taken = await fingerprint(this.#options.paths);
  }

  /** Looks now; `forget` calls back even if nothing has changed. */
  look(forget: 'forget' | 'compare' = 'compare'): void {
    if (this.#closed) return;
    if (forget === 'forget') this.#taken = undefined;
    if (this.#looking !== undefined) {
      this.#again = true;
      return;
    }
    this.#looking = this.#settle().finally(() => {
      this.#looking = undefined;
      if (this.#again) {
        this.#again = false;
        this.look();
      }
    });
  }

  /** Resolves when no look is under way. */
  async idle(): Promise<void> {
    while (this.#looking !== undefined) await this.#looking;
  }

  /** Ends once a call that is under way has returned. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#poll);
    for (const { watcher } of this.#watchers.values()) watcher.close();
    await this.#looking;
  }

  async #settle(): Promise<void> {
    await this.#watchFolders();
    let seen = await fingerprint(this.#options.paths);
    while (seen !== this.#taken && !this.#closed) {
      await new Promise((resolve) => setTimeout(resolve, this.#options.restMs));
      const now = await fingerprint(this.#options.paths);
      if (now === seen) {
        this.#taken = now;
        await this.#options.onChange();
        return;
      }
      seen = now;
    }
  }

  async #watchFolders(): Promise<void> {
    for (const path of this.#options.paths) {
      const folder = (await stat(path).catch(() => undefined))?.isDirectory() === true ? path : dirname(path);
      const inode = (await stat(folder).catch(() => undefined))?.ino;
      const known = this.#watchers.get(folder);
      if (known?.inode === inode || this.#closed) continue;
      known?.watcher.close();
      this.#watchers.delete(folder);
      if (inode !== undefined) this.#watch(folder, inode);
    }
  }

  #watch(folder: string, inode: number): void {
    try {
      const watcher = watch(folder, { persistent: false }, () => this.look());
      // Out of watches, or the folder has gone: the poll goes on, and tries again.
      watcher.on('error', () => {
        watcher.close();
        this.#watchers.delete(folder);
      });
      this.#watchers.set(folder, { watcher, inode });
    } catch {
      this.#watchers.delete(folder);
    }
  }
}

/** Changes whenever a file of the set is written, replaced, added or removed. */
async function fingerprint(paths: readonly string[]): Promise<string> {
  const lines: string[] = [];
  for (const path of paths) {
    const files = await manifestPaths(path).catch((error: unknown) => [`${path}: ${String(error)}`]);
    for (const file of files) {
      const stats = await stat(file, { bigint: true }).catch(() => undefined);
      lines.push(`${file} ${stats?.ino ?? ''} ${stats?.size ?? ''} ${stats?.mtimeNs ?? ''} ${stats?.ctimeNs ?? ''}`);
    }
  }
  return lines.join('\n');
}
