import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { TerminalError } from '../net/errors.ts';
import type { Finding } from './findings.ts';

export interface ManifestFile {
  readonly path: string;
  readonly text: string;
}

const MAX_FILE_BYTES = 16 * 1024 * 1024;
const MANIFEST = /^[^.].*\.(ya?ml|json)$/;
const SKIPPED = 'skipped: folders in a folder are not read; name it too if it is meant';
const NOTHING_FOUND =
  'no manifests found in this folder: it has no .yaml, .yml or .json file, and those of folders in it do not count';

/**
 * Reads the manifest files that `paths` name. A folder stands for the `.yaml`, `.yml` and `.json` files right
 * in it, as with kubectl; names that start with a dot are left out (editors' and mounts' leftovers).
 * A file that can't be read is a finding of its own; the others are read all the same. So is each folder when there is
 * no file at all: whoever names the wrong one must not be told that all is well. Folders with manifests that nobody named
 * are warned of where there are others beside them.
 */
export async function readManifestFiles(
  paths: readonly string[],
): Promise<{ readonly files: readonly ManifestFile[]; readonly findings: readonly Finding[] }> {
  const files = new Map<string, ManifestFile>();
  const findings: Finding[] = [];
  const fail = (file: string, cause: unknown): void => {
    const message = cause instanceof Error ? cause.message : String(cause);
    findings.push({ severity: 'error', file, line: 1, object: '-', field: '-', message });
  };
  for (const path of paths) {
    try {
      for (const file of await manifestPaths(path)) {
        if (files.has(file)) continue;
        await readBounded(file).then(
          (text) => files.set(file, { path: file, text }),
          (cause: unknown) => fail(file, cause),
        );
      }
    } catch (cause) {
      fail(path, cause);
    }
  }
  if (files.size === 0 && findings.length === 0) for (const path of new Set(paths)) fail(path, NOTHING_FOUND);
  for (const folder of files.size === 0 ? [] : await skippedFolders(paths))
    findings.push({ severity: 'warning', file: folder, line: 1, object: '-', field: '-', message: SKIPPED });
  return { files: [...files.values()], findings };
}

/** Folders right in one of `paths` that hold manifests and are not among `paths` themselves. */
async function skippedFolders(paths: readonly string[]): Promise<readonly string[]> {
  const named = new Set(paths.map((path) => resolve(path)));
  const skipped: string[] = [];
  for (const path of paths) {
    const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
    for (const { name } of entries.filter((entry) => !entry.isFile() && !entry.name.startsWith('.'))) {
      const folder = join(path, name);
      if (named.has(resolve(folder))) continue;
      const names = await readdir(folder).catch(() => []);
      if (names.some((one) => MANIFEST.test(one))) skipped.push(folder);
    }
  }
  return skipped.toSorted();
}

/** The files that `path` stands for, sorted. A link to nowhere is one of them: reading it says so. */
export async function manifestPaths(path: string): Promise<readonly string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const names = (await readdir(path)).filter((name) => MANIFEST.test(name)).sort();
  const paths: string[] = [];
  for (const name of names) {
    const stats = await stat(join(path, name)).catch(() => undefined);
    if (stats?.isFile() !== false) paths.push(join(path, name));
  }
  return paths;
}

/** Bounded by what is read, not by the size the file has: devices and pipes have none. */
async function readBounded(path: string): Promise<string> {
  const bytes = await buffer(createReadStream(path, { end: MAX_FILE_BYTES }));
  if (bytes.length > MAX_FILE_BYTES) throw new TerminalError(`is larger than ${MAX_FILE_BYTES} bytes`);
  if (!isUtf8(bytes)) throw new TerminalError('is not UTF-8 text');
  return new TextDecoder().decode(bytes);
}
