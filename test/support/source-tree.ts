import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';

export interface SourceFile {
  /** From the repository's root, with forward slashes. */
  readonly path: string;
  readonly text: string;
  /** What it imports, statically, dynamically or for types alone. */
  readonly imports: readonly Import[];
  /** The text with comments, strings and regular expressions blanked, line breaks kept. */
  readonly code: string;
}

export interface Import {
  readonly specifier: string;
  /** The imported file from the root when it is one of ours. */
  readonly path: string | undefined;
}

export const ROOT = join(import.meta.dirname, '..', '..');

/** Folders of the product; `test` is not one of them. */
export const SOURCE_FOLDERS = [
  'api',
  'net',
  'operator',
  'dataplane',
  'standalone',
  'connections',
  'portal',
  'cli',
] as const;

export function readSources(folders: readonly string[] = SOURCE_FOLDERS): readonly SourceFile[] {
  return listFiles(folders, '.ts').map((path) => {
    const text = readFileSync(join(ROOT, path), 'utf8');
    return { path, text, imports: importsOf(path, text), code: blankOutProse(text) };
  });
}

/** Paths from the root of every file under the folders that ends so, build results left out. */
export function listFiles(folders: readonly string[], ...endings: readonly string[]): readonly string[] {
  return folders
    .filter((folder) => existsSync(join(ROOT, folder)))
    .flatMap((folder) =>
      readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((name) => `${folder}/${name}`),
    )
    .filter((path) => endings.some((ending) => path.endsWith(ending)) && !path.includes('/build/'))
    .sort();
}

export function isGenerated(path: string): boolean {
  return path.includes('/generated/') || path.startsWith('api/v1alpha1/');
}

function importsOf(path: string, text: string): readonly Import[] {
  const specifiers = [...text.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? match[3] ?? '');
  return specifiers.map((specifier) => ({
    specifier,
    path: specifier.startsWith('.')
      ? relative(ROOT, normalize(join(ROOT, dirname(path), specifier))).replaceAll('\\', '/')
      : undefined,
  }));
}

function blankOutProse(text: string): string {
  return text.replace(PROSE, (match: string, kept: string | undefined) =>
    kept === undefined ? match.replace(/[^\n]/g, ' ') : match,
  );
}

const IMPORT =
  /^(?:import|export)\b[^'"`;=]*?\bfrom\s*['"]([^'"]+)['"]|^import\s*['"]([^'"]+)['"]|(?<!\* .*)\bimport\(\s*['"]([^'"]+)['"]/gm;
// Template literals are kept: what stands in ${} is code.
const PROSE = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|(`)/g;
