import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { listFiles, readSources, ROOT } from '../support/source-tree.ts';

const MUST_EXIST = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  'LICENSE',
  'Makefile',
  '.ci/run',
  'docs/architecture.md',
  'docs/packet-journey.md',
  'docs/threat-model.md',
];

const documents = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...listFiles(['docs', 'examples'], '.md')];
const textOf = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

test('the documents that everybody looks for are there, and decisions are on record', () => {
  assert.deepEqual(
    MUST_EXIST.filter((path) => !existsSync(join(ROOT, path))),
    [],
  );
  assert.match(textOf('LICENSE'), /Apache License\s+Version 2\.0/);
  assert.ok(listFiles(['docs/adr'], '.md').length > 0);
});

test('every link from one document to another leads somewhere', () => {
  const broken = documents.flatMap((path) =>
    [...textOf(path).matchAll(/\]\(([^)#\s]+)[^)]*\)/g)]
      .map(([, target = '']) => target)
      .filter((target) => !/^[a-z]+:/.test(target) && !existsSync(join(ROOT, dirname(path), target)))
      .map((target) => `${path}: ${target}`),
  );
  assert.deepEqual(broken, []);
});

test('every make target that a document names is one, and every test or source file is there', () => {
  const makefile = textOf('Makefile');
  const wrong = documents.flatMap((path) => {
    const code = [...textOf(path).matchAll(/`+([^`]+)`+/g)].map(([, text = '']) => text).join('\n');
    const targets = [...code.matchAll(/(?:^|\s)make ([a-z-]+)/gm)].map(([, target = '']) => target);
    const files = [...code.matchAll(/(?:^|\s)((?:test|dataplane|standalone|operator|api|cli|net)\/[\w./-]+\.ts)/gm)];
    return [
      ...targets.filter((target) => !new RegExp(`^${target}:`, 'm').test(makefile)).map((target) => `make ${target}`),
      ...files.map(([, file = '']) => file).filter((file) => !existsSync(join(ROOT, file))),
    ].map((name) => `${path}: ${name}`);
  });
  assert.deepEqual(wrong, []);
});

test('commands that a document names run as they stand there: options are known, and those that must be given are', () => {
  const required: Readonly<Record<string, string>> = {
    status: '--state-dir',
    connections: '--state-dir',
    terminate: '--state-dir',
    'client-config': '--state-dir',
  };
  const helpOf = (command: string): string => {
    const words = [join(ROOT, 'cli', 'main.ts'), ...(command === '' ? [] : [command]), '--help'];
    return execFileSync(process.execPath, words, { encoding: 'utf8' });
  };
  const help = new Map<string, string>();
  const wrong = ['README.md', ...listFiles(['docs', 'examples'], '.md')].flatMap((path) => {
    const code = [...textOf(path).matchAll(/`+([^`]+)`+/g)].map(([, text = '']) => text.replaceAll('\\\n', ' '));
    const commands = code.flatMap((text) => [
      ...text.matchAll(/(?<!--name |exec )(?<=^|[\s/])clientvpn +(?!clientvpn )([a-z-]+)(.*)/gm),
    ]);
    return commands.flatMap(([line, command = '', rest = '']) => {
      const known = help.get(command) ?? helpOf(command);
      help.set(command, known);
      const used = [...rest.matchAll(/--[a-z-]+/g)].map(([option]) => option);
      const needed = required[command];
      const isWhole = needed === undefined || used.includes(needed);
      const unknown = used.filter((option) => !new RegExp(`^ +(?:-., )?${option}\\b`, 'm').test(known));
      return isWhole && unknown.length === 0 ? [] : [`${path}: ${line.trim()} ${unknown.join(' ')}`];
    });
  });
  assert.deepEqual(wrong, []);
});

test('decision records are numbered without gaps and doubles', () => {
  const numbers = listFiles(['docs/adr'], '.md').map((path) => Number(/(\d{4})-[^/]+$/.exec(path)?.[1]));
  assert.deepEqual(
    numbers,
    numbers.map((_, index) => index + 1),
  );
});

test('comments refer to no document that is not here', () => {
  const names = [...readSources(), ...readSources(['test'])].flatMap(({ path, text }) =>
    [...text.matchAll(/\/\*.*?\*\/|\/\/.*?$/gms)]
      .flatMap(([comment]) => [...comment.matchAll(/[\w./-]*\w\.md\b|\bprotocol \d+(\.\d+)+/g)])
      .map(([name]) => name)
      .filter((name) => !existsSync(join(ROOT, name)) && !existsSync(join(ROOT, 'docs', name)))
      .map((name) => `${path}: ${name}`),
  );
  assert.deepEqual(names, []);
});
