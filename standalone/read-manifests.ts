import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { TerminalError } from '../net/errors.ts';
import type { Finding } from './findings.ts';

export interface ManifestFile {
  readonly path: string;
  readonly text: string;
}

const MAX_FILE_BYTES = 16 * 1024 * 1024;

/**
 * Reads the manifest files that `paths` name. A folder stands for the `.yaml`, `.yml` and `.json` files right
 * in it, as with kubectl; names that start with a dot are left out (editors' and mounts' leftovers).
 */
export async function readManifestFiles(
  paths: readonly string[],
): Promise<{ readonly files: readonly ManifestFile[]; readonly findings: readonly Finding[] }> {
  const files = new Map<string, ManifestFile>();
  const findings: Finding[] = [];
  for (const path of paths) {
    try {
      for (const file of await manifestPaths(path)) {
        if (!files.has(file)) files.set(file, { path: file, text: await readBounded(file) });
      }
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause);
      findings.push({ severity: 'error', file: path, line: 1, object: '-', field: '-', message });
    }
  }
  return { files: [...files.values()], findings };
}

/** The files that `path` stands for, sorted. */
export async function manifestPaths(path: string): Promise<readonly string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const names = (await readdir(path)).filter((name) => /^[^.].*\.(ya?ml|json)$/.test(name)).sort();
  const paths: string[] = [];
  for (const name of names) if ((await stat(join(path, name))).isFile()) paths.push(join(path, name));
  return paths;
}

async function readBounded(path: string): Promise<string> {
  await using file = await open(path);
  const { size } = await file.stat();
  if (size > MAX_FILE_BYTES) throw new TerminalError(`file is ${size} bytes, at most ${MAX_FILE_BYTES} are read`);
  const bytes = await file.readFile();
  if (bytes.length > MAX_FILE_BYTES) throw new TerminalError(`file is larger than ${MAX_FILE_BYTES} bytes`);
  return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
}
