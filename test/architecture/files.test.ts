import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { isGenerated, listFiles, readSources, ROOT, SOURCE_FOLDERS } from '../support/source-tree.ts';
import { isUnder, PURE_FOLDERS, TOOLS } from './import-rules.ts';

const FILE_LINES = 450;
const NATIVE_LINES = 1990;

const sources = readSources();
const ours = [...sources, ...readSources(['test'])].filter(
  ({ path }) => !isGenerated(path) && !isUnder(path, 'test/vectors'),
);

test(`no file is longer than ${FILE_LINES} lines`, () => {
  const long = ours
    .map(({ path, text }) => ({ path, lines: lineCount(text) }))
    .filter(({ lines }) => lines > FILE_LINES);
  assert.deepEqual(long, []);
});

test(`the native code has at most ${NATIVE_LINES} lines in all`, () => {
  const files = listFiles(['dataplane/native'], '.cc', '.cpp', '.c', '.h', '.hpp');
  const total = files.reduce((sum, path) => sum + lineCount(readFileSync(join(ROOT, path), 'utf8')), 0);
  assert.ok(total <= NATIVE_LINES, `${total} lines`);
});

test('file names are in kebab case and say what is inside', () => {
  const bad = ours
    .map(({ path }) => path)
    .filter((path) => {
      const name = basename(path).replace(/(\.test)?\.ts$/, '');
      return (
        !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name) || /(^|-)(index|utils?|helpers?|common|misc|manager)(-|$)/.test(name)
      );
    });
  assert.deepEqual(bad, []);
});

test('tests stand at the mirrored path of what they test, or beside others of their kind', () => {
  const folders = new Set(sources.flatMap(({ path }) => parents(path)));
  const stray = listFiles(['test/unit'], '.test.ts').filter((path) => {
    const folder = path.slice('test/unit/'.length, path.lastIndexOf('/'));
    return folder !== 'test' && !folder.startsWith('test/') && !folders.has(folder) && folder !== 'dataplane/native';
  });
  assert.deepEqual(stray, []);
});

const pure = sources.filter(
  ({ path }) => PURE_FOLDERS.some((folder) => isUnder(path, folder)) && !isGenerated(path) && !TOOLS.includes(path),
);

for (const { what, pattern } of [
  { what: 'a clock', pattern: /\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b|\bhrtime\b/ },
  { what: 'a timer', pattern: /\b(setTimeout|setInterval|setImmediate|queueMicrotask)\b/ },
  { what: 'randomness', pattern: /\bMath\.random\b|\brandom(Bytes|Int|UUID|FillSync|Fill)\s*\(/ },
  { what: 'the process', pattern: /(?<![.\w])process\.\w/ },
  { what: 'a console or a logger', pattern: /(?<![.\w])console\./ },
  { what: 'Buffer', pattern: /\bBuffer\b/ },
  { what: 'a promise', pattern: /\bawait\b|\basync\b|\bPromise\b/ },
]) {
  test(`pure folders do not use ${what}`, () => {
    assert.deepEqual(
      pure.flatMap(({ path, code }) => findLines(path, code, pattern)),
      [],
    );
  });
}

for (const { what, pattern } of [
  { what: 'unfinished work', pattern: /\b(TODO|FIXME|XXX|HACK)\b/ },
  {
    what: 'commented-out lint or type rules without a reason',
    pattern: /@ts-(ignore|nocheck)|(eslint|oxlint)-disable(?!.* -- )/,
  },
]) {
  test(`no source marks ${what}`, () => {
    // This file spells the marks out.
    const files = ours.filter(({ path }) => !isUnder(path, 'test/architecture'));
    assert.deepEqual(
      files.flatMap(({ path, text }) => findLines(path, text, pattern)),
      [],
    );
  });
}

test('no source throws a bare Error', () => {
  assert.deepEqual(
    sources.flatMap(({ path, code }) => findLines(path, code, /\bnew (Error|TypeError|RangeError)\(/)),
    [],
  );
});

test('no source uses syntax that type stripping cannot remove', () => {
  assert.deepEqual(
    sources.flatMap(({ path, code }) =>
      findLines(path, code, /^\s*(export )?(declare )?(const )?(enum|namespace) \w+ *\{/),
    ),
    [],
  );
});

test('the product imports nothing of the tests', () => {
  const uses = sources.flatMap(({ path, imports }) =>
    imports.filter((i) => i.path !== undefined && isUnder(i.path, 'test')).map(() => path),
  );
  assert.deepEqual(uses, []);
  assert.ok(SOURCE_FOLDERS.length > 0 && sources.length > 0);
});

function lineCount(text: string): number {
  return text.split('\n').length - 1;
}

function findLines(path: string, text: string, pattern: RegExp): string[] {
  return text
    .split('\n')
    .map((line, index) => ({ line, number: index + 1 }))
    .filter(({ line }) => pattern.test(line))
    .map(({ line, number }) => `${path}:${number}: ${line.trim()}`);
}

function parents(path: string): string[] {
  const parts = path.split('/').slice(0, -1);
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'));
}
