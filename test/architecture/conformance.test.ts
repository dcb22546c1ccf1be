// A test says which requirements it shows by tags in its name: `[P42]` for number 42 of the protocol's conformance
// list, `[C61]` for number 61 of the behaviours. These tests fail for a number that nobody shows: all of the protocol, and
// parts A to E of the behaviours.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { listFiles, ROOT } from '../support/source-tree.ts';

const PROTOCOL_NUMBERS = 103;
/** Parts A to E of the behaviours: what a gateway without a cluster can show. */
const GATEWAY_BEHAVIOURS = 95;
const BEHAVIOURS = 136;

// Number 103 asks for clients of five families. The suite runs the one that Debian ships, 2.6; what the others do
// differently (PRF keys, no peer id, DATA_V1, epoch keys, PUSH_UPDATE) is played by our own client in test/sim.

const CLUSTER = 'pods, zones and network policies come with the operator';
const BROWSER = 'browser logins come with the SAML and OIDC providers';

/** Numbers that wait for a part which does not exist yet, and which part that is. */
const LATER: Readonly<Record<string, string>> = {
  // What is said to the client is there, and shown in test/sim and test/interop/asked-user.test.ts.
  P98: 'who makes the address and the state id of a challenge comes with the SAML provider',
  P99: 'who keeps states and reads assertions comes with the SAML provider',
  P100: 'the page that a browser comes back to comes with the SAML and OIDC providers',
  C10: 'two listeners at a time come with the operator; a gateway asks for a restart, as a test in gateway-set.test.ts shows',
  C23: 'a cascade over objects comes with the operator',
  C30: 'address management comes with the operator',
  C31: CLUSTER,
  C32: CLUSTER,
  C36: CLUSTER,
  C37: CLUSTER,
  C38: CLUSTER,
  C50: 'objects that are made and guarded come with the operator',
  C82: BROWSER,
  C83: BROWSER,
  C84: BROWSER,
  C85: BROWSER,
  C86: BROWSER,
  C87: BROWSER,
};

const tags = collectTags();

test('every number of the protocol list has a test, or a reason to come later', () => {
  const numbers = Array.from({ length: PROTOCOL_NUMBERS }, (_, index) => `P${index + 1}`);
  assert.deepEqual(
    numbers.filter((tag) => !tags.has(tag) && LATER[tag] === undefined),
    [],
  );
});

test('every behaviour that a gateway without a cluster can show has a test, or a reason to come later', () => {
  const numbers = Array.from({ length: GATEWAY_BEHAVIOURS }, (_, index) => `C${index + 1}`);
  assert.deepEqual(
    numbers.filter((tag) => !tags.has(tag) && LATER[tag] === undefined),
    [],
  );
});

test('no number is put off although it has a test', () => {
  assert.deepEqual(
    Object.keys(LATER).filter((tag) => tags.has(tag)),
    [],
  );
});

test('no test claims a number that does not exist', () => {
  const unknown = [...tags].filter((tag) => {
    const limit = tag.startsWith('P') ? PROTOCOL_NUMBERS : BEHAVIOURS;
    const number = Number(tag.slice(1));
    return number < 1 || number > limit;
  });
  assert.deepEqual(unknown, []);
});

function collectTags(): ReadonlySet<string> {
  const files = listFiles(['test'], '.test.ts').filter((path) => !path.startsWith('test/architecture/'));
  return new Set(
    files.flatMap((path) =>
      [...readFileSync(join(ROOT, path), 'utf8').matchAll(/\[([PC]\d+)\]/g)].map((m) => m[1] ?? ''),
    ),
  );
}
