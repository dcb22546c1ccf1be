import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { CERTIFICATE_DENIALS, LOGIN_DENIALS } from '../../api/denial-reasons.ts';
import { TCP_REFUSALS } from '../../dataplane/data-channel.ts';
import { QUEUE_DROPS } from '../../dataplane/io/metrics.ts';
import { ControlDrop } from '../../dataplane/protocol/control-packet.ts';
import { KeyMethodFailure } from '../../dataplane/protocol/key-method.ts';
import { NEGOTIATION_REFUSALS } from '../../dataplane/protocol/negotiation.ts';
import { HANDSHAKE_FAILURES, SESSION_DROPS } from '../../dataplane/protocol/reasons.ts';
import {
  ADMISSION_DROPS,
  END_REASONS,
  ENGINE_DENIALS,
  ENGINE_DROPS,
  START_REFUSALS,
} from '../../dataplane/sessions/reasons.ts';
import { DROP_NAMES, DropReason } from '../../dataplane/tunnel/drop-reason.ts';
import { listFiles, ROOT } from '../support/source-tree.ts';

/** By the heading in the document. TypeScript lets the code give no other reason than these. */
const REASONS: Readonly<Record<string, readonly string[]>> = {
  'Refused session starts': [...START_REFUSALS, ...TCP_REFUSALS],
  'Failed handshakes': [...HANDSHAKE_FAILURES, ...Object.values(KeyMethodFailure), 'tls-…', 'renewal-…'],
  'Refused certificates': CERTIFICATE_DENIALS,
  'Refused logins': [...LOGIN_DENIALS, ...ENGINE_DENIALS, ...NEGOTIATION_REFUSALS],
  'Ended connections': [...END_REASONS, 'renewal-refused-…'],
  'Dropped on the data path': Object.values(DROP_NAMES),
  'Dropped on the control channel': [
    ...Object.values(ControlDrop),
    ...SESSION_DROPS,
    ...ADMISSION_DROPS,
    ...ENGINE_DROPS,
  ],
  'Dropped unread': QUEUE_DROPS,
};

const document = readFileSync(join(ROOT, 'docs', 'reasons.md'), 'utf8');
const sections = new Map(
  document
    .split(/^## /m)
    .slice(1)
    .map((section) => [section.slice(0, section.indexOf('\n')), rowsOf(section)] as const),
);

test('every reason that the code may give is explained, and no other', () => {
  const explained = Object.fromEntries([...sections].map(([heading, rows]) => [heading, rows.map(([name]) => name)]));
  const given = Object.fromEntries(Object.entries(REASONS).map(([heading, names]) => [heading, [...names].toSorted()]));
  assert.deepEqual(explained, given);
});

test('every reason has one spelling, and says one thing', () => {
  for (const rows of sections.values())
    for (const [name, meaning] of rows) {
      assert.match(name, /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*(?:-…)?$/);
      assert.ok(meaning.length > 10, name);
    }
  const drops = [...sections].filter(([heading]) => heading.startsWith('Dropped')).flatMap(([, rows]) => rows);
  assert.equal(new Set(drops.map(([name]) => name)).size, drops.length, 'they share a metric');
});

test('no reason is listed that the code never gives', () => {
  const sources = listFiles(['dataplane', 'api'], '.ts').map((path) => readFileSync(join(ROOT, path), 'utf8'));
  const code = sources.join('\n');
  const timesQuoted = (name: string): number => code.split(`'${name}'`).length - 1;
  const byKey = [
    ...Object.keys(DropReason).map((key) => `DropReason.${key}`),
    ...Object.keys(ControlDrop).map((key) => `ControlDrop.${key}`),
    ...Object.keys(KeyMethodFailure).map((key) => `KeyMethodFailure.${key}`),
  ];
  assert.deepEqual(
    byKey.filter((use) => !new RegExp(`\\b${use}\\b`).test(code)),
    [],
  );
  const keyed: readonly string[] = [DROP_NAMES, ControlDrop, KeyMethodFailure].flatMap((names) => Object.values(names));
  const names = Object.values(REASONS)
    .flat()
    .filter((name) => !keyed.includes(name) && !name.endsWith('…') && !name.startsWith('control-message-'));
  assert.deepEqual(
    names.filter((name) => timesQuoted(name) < 2),
    [],
  );
});

test('a `reason` in the log is one of these: what is said for a person alone is the `cause`', () => {
  const ofOthers = listFiles(['dataplane', 'standalone', 'cli'], '.ts').filter((path) =>
    /(?:\.(?:debug|info|warn|error|fatal)\(|\bline = )\s*\{(?:[^}]*,)?\s*reason\b\s*[,:}]/.test(
      readFileSync(join(ROOT, path), 'utf8'),
    ),
  );
  assert.deepEqual(ofOthers, ['dataplane/io/observers.ts']);
});

function rowsOf(section: string): readonly (readonly [name: string, meaning: string])[] {
  return [...section.matchAll(/^\| `([^`]+)` +\| ([^|]+?) +\|$/gm)].map(([, name = '', meaning = '']) => [
    name,
    meaning,
  ]);
}
