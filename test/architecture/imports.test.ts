import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readSources, ROOT, type SourceFile } from '../support/source-tree.ts';
import { IMPORT_RULES, isUnder, TOOLS, type ImportRule } from './import-rules.ts';

const sources = readSources();

test('every file belongs to a folder of the import table', () => {
  const strangers = sources.filter(({ path }) => ruleFor(path) === undefined).map(({ path }) => path);
  assert.deepEqual(strangers, []);
});

test('every import is one that the table allows', () => {
  const findings = sources.flatMap((file) => {
    const rule = ruleFor(file.path);
    return rule === undefined || TOOLS.includes(file.path) ? [] : forbiddenImports(file, rule);
  });
  assert.deepEqual(findings, []);
});

test('imports of ours name an existing file with its extension', () => {
  // A generator's text holds imports of the files it writes.
  const files = [...sources, ...readSources(['test'])].filter(({ path }) => !TOOLS.includes(path));
  const findings = files.flatMap(({ path, imports }) =>
    imports
      .filter((entry) => entry.path !== undefined && !existsSync(join(ROOT, entry.path)))
      .map(({ specifier }) => `${path}: ${specifier}`),
  );
  assert.deepEqual(findings, []);
});

test('every package that is installed beside the product is one that it uses', () => {
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  // netlink-library.ts names its package in a string.
  const isUsed = (name: string): boolean => sources.some(({ text }) => text.includes(`'${name}'`));
  assert.deepEqual(
    Object.keys(dependencies).filter((name) => !isUsed(name)),
    [],
  );
});

test('no file imports itself in a circle', () => {
  const graph = new Map(sources.map(({ path, imports }) => [path, imports.flatMap((entry) => entry.path ?? [])]));
  assert.deepEqual(findCycle(graph), undefined);
});

function ruleFor(path: string): ImportRule | undefined {
  return IMPORT_RULES.filter(({ of }) => isUnder(path, of)).sort((a, b) => b.of.length - a.of.length)[0];
}

function forbiddenImports({ path, imports }: SourceFile, rule: ImportRule): string[] {
  return imports
    .filter(({ specifier, path: imported }) => {
      if (imported !== undefined) return !isUnder(imported, rule.of) && !rule.ours.some((of) => isUnder(imported, of));
      if (specifier.startsWith('node:')) return !rule.node.includes('*') && !rule.node.includes(specifier);
      return !rule.packages.some((name) => specifier === name || specifier.startsWith(`${name}/`));
    })
    .map(({ specifier }) => `${path} imports ${specifier}`);
}

function findCycle(graph: ReadonlyMap<string, readonly string[]>): string | undefined {
  const finished = new Set<string>();
  const visit = (path: string, trail: readonly string[]): string | undefined => {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path].join(' → ');
    if (finished.has(path)) return undefined;
    for (const next of graph.get(path) ?? []) {
      const cycle = visit(next, [...trail, path]);
      if (cycle !== undefined) return cycle;
    }
    finished.add(path);
    return undefined;
  };
  for (const path of graph.keys()) {
    const cycle = visit(path, []);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}
