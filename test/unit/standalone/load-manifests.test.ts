import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatFinding } from '../../../standalone/findings.ts';
import { loadManifests } from '../../../standalone/load-manifests.ts';

function load(...texts: readonly string[]): {
  readonly names: readonly string[];
  readonly findings: readonly string[];
} {
  const files = texts.map((text, index) => ({ path: `${'abc'[index]}.yaml`, text }));
  const { documents, findings } = loadManifests(files);
  return {
    names: documents.map(({ kind, namespace, name }) => `${kind}/${namespace}/${name}`),
    findings: findings.map(formatFinding),
  };
}

const RULE = `apiVersion: clientvpn.dev/v1alpha1
kind: AuthorizationRule
metadata:
  name: r1
`;

describe('loadManifests', () => {
  it('reads many documents, empty ones too, and defaults the namespace', () => {
    const { names, findings } = load(`---\n# nothing\n---\n${RULE}---\n${RULE.replace('r1', 'r2')}  namespace: vpn\n`);
    assert.deepEqual(names, ['AuthorizationRule/default/r1', 'AuthorizationRule/vpn/r2']);
    assert.deepEqual(findings, []);
  });

  it('expands a List and finds lines inside it', () => {
    const item = RULE.split('\n')
      .map((line) => `    ${line}`)
      .join('\n')
      .trim();
    const { documents } = loadManifests([{ path: 'a', text: `apiVersion: v1\nkind: List\nitems:\n  - ${item}\n` }]);
    assert.equal(documents[0]?.name, 'r1');
    assert.equal(documents[0]?.lineOf(['metadata', 'name']), 7);
  });

  it('names the line of broken YAML and reads the other documents', () => {
    const { names, findings } = load(`${RULE}---\na: [1\nb: 2\n---\n${RULE.replace('r1', 'r2')}`);
    assert.ok(names.includes('AuthorizationRule/default/r1'));
    assert.match(findings[0] ?? '', /^a\.yaml:[67]: -: -: YAML: /);
  });

  it('refuses a key that is there twice', () => {
    assert.match(load(`${RULE}  name: r2\n`).findings.join(), /a\.yaml:5: -: -: YAML: key "name" is there twice/);
  });

  it('names both places of an object that is defined twice', () => {
    assert.deepEqual(load(RULE, `# second\n${RULE}`).findings, [
      'b.yaml:2: AuthorizationRule/r1: metadata.name: defined twice: here and at a.yaml:1',
    ]);
  });

  it('lets one name stand in two namespaces and for two kinds', () => {
    const route = RULE.replace('AuthorizationRule', 'Route');
    assert.deepEqual(load(RULE, `${RULE}  namespace: b\n`, route).findings, []);
  });

  it('skips other groups with a warning and refuses unknown kinds and versions of ours', () => {
    const { names, findings } = load(
      'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n',
      'apiVersion: clientvpn.dev/v1alpha1\nkind: Gateway\nmetadata: {name: g}\n',
      'apiVersion: clientvpn.dev/v1\nkind: Route\nmetadata: {name: r}\n',
    );
    assert.deepEqual(names, []);
    assert.deepEqual(
      findings.map((text) => text.slice(0, 58)),
      [
        'a.yaml:1: Deployment/d: -: warning: skipped: apps/v1 Deplo',
        'b.yaml:2: Gateway/g: kind: unknown kind Gateway, expected ',
        'c.yaml:1: Route/r: apiVersion: unknown version clientvpn.d',
      ],
    );
  });

  for (const name of ['Upper', 'a_b', '-a', 'a.', 'a'.repeat(254), '""']) {
    it(`refuses the name ${name.slice(0, 10)}`, () => {
      assert.match(
        load(RULE.replace('r1', name)).findings.join(),
        /a\.yaml:4: AuthorizationRule\/.*: metadata\.name: /,
      );
    });
  }

  it('refuses documents that are no objects or say nothing about themselves', () => {
    assert.match(load('- 1\n').findings.join(), /not an object/);
    assert.match(load('kind: Route\n').findings.join(), /apiVersion: is required/);
  });

  it('refuses an alias bomb', () => {
    const levels = ['a: &a [x,x,x,x,x,x,x,x,x]'];
    for (let level = 1; level < 9; level += 1) {
      const name = 'abcdefghi'[level];
      const below = 'abcdefghi'[level - 1];
      levels.push(`${name}: &${name} [${Array.from({ length: 9 }, () => `*${below}`).join()}]`);
    }
    assert.match(load(levels.join('\n')).findings.join(), /YAML: .*alias/i);
  });

  for (const value of [
    '*planted',
    '|planted',
    '>planted',
    '"x" planted',
    "'x'planted",
    '@planted',
    '%planted',
    '!<planted',
    '!a!planted x',
    '&planted *planted',
    '[planted',
    '{planted',
    'x: planted: y',
    '"\\qplanted"',
    'x\n planted',
    '"planted',
  ]) {
    it(`names no value of a Secret that is no YAML: ${JSON.stringify(value)}`, () => {
      const { findings } = load(
        `apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData:\n  password: ${value}\n`,
      );
      for (const finding of findings) assert.doesNotMatch(finding, /planted/);
    });
  }

  it('survives nesting that exhausts the parser', () => {
    assert.equal(load('['.repeat(200_000)).findings.length > 0, true);
  });

  it('keeps a forged line out of a finding', () => {
    const { findings } = load(RULE.replace('r1', '"x\\ny.yaml:1: Route/z: -: fine"'));
    assert.ok(findings.every((text) => !text.includes('\n')));
  });
});
