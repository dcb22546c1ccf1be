import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './source-tree.ts';

export const EXAMPLES = join(ROOT, 'examples');

/** One line of the tables in an example's README: who reaches what, and sometimes what decided. */
export interface ExampleRow {
  readonly groups: readonly string[];
  readonly to: string;
  /** `allowed`, or the reason of `explain`. */
  readonly answer: string;
  readonly decidedBy: string;
}

/** Folders of examples that are one set of manifests each; `restrict-by-group` has several. */
export function exampleNames(): readonly string[] {
  return readdirSync(EXAMPLES, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== 'restrict-by-group')
    .map((entry) => entry.name);
}

/** Text by file name. */
export function manifestsOf(folder: string): Readonly<Record<string, string>> {
  const names = readdirSync(folder).filter((name) => name.endsWith('.yaml'));
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(folder, name), 'utf8')]));
}

export function endpointIn(manifests: Readonly<Record<string, string>>): string {
  return /kind: ClientVpnEndpoint\nmetadata:\n {2}name: (\S+)/.exec(Object.values(manifests).join('\n'))?.[1] ?? '';
}

export function rowsOf(markdown: string): readonly ExampleRow[] {
  return markdown
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .filter((cells) => /^\d+\.\d+\.\d+\.\d+$/.test(cells[2] ?? ''))
    .map(([, group = '', to = '', answer = '', decidedBy = '']) => ({
      groups: group === '-' ? [] : [group],
      to,
      answer,
      decidedBy,
    }));
}
