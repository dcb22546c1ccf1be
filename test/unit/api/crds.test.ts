import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parse } from 'yaml';

const CRDS = join(import.meta.dirname, '..', '..', '..', 'crds');

interface Node {
  readonly [keyword: string]: unknown;
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
  readonly additionalProperties?: Node;
}

/** What a kube-apiserver refuses in a structural schema, and what our API reference needs. */
const FORBIDDEN = [
  '$ref',
  'uniqueItems',
  'definitions',
  'dependencies',
  'deprecated',
  'discriminator',
  'id',
  'patternProperties',
  'readOnly',
  'writeOnly',
  'xml',
];

function visit(node: Node, path: string, see: (node: Node, path: string) => void): void {
  see(node, path);
  for (const [name, child] of Object.entries(node.properties ?? {})) visit(child, `${path}.${name}`, see);
  if (node.items !== undefined) visit(node.items, `${path}[]`, see);
  if (node.additionalProperties !== undefined) visit(node.additionalProperties, `${path}{}`, see);
}

/** Short names, and whether one endpoint's objects can be selected by the server. */
const KINDS: Readonly<Record<string, readonly [shortName: string, ofEndpoint: boolean]>> = {
  ClientVpnEndpoint: ['cvpn', false],
  TargetNetwork: ['cvtn', true],
  Route: ['cvrt', true],
  AuthorizationRule: ['cvauth', true],
  IdentityProvider: ['cvidp', false],
  EndpointSnapshot: ['cvsnap', false],
};

describe('crds/', () => {
  const files = readdirSync(CRDS).filter((name) => name.endsWith('.yaml'));
  const crds = files.map((name) => parse(readFileSync(join(CRDS, name), 'utf8')));

  it('holds the six kinds, one a file, named for their plural', () => {
    assert.deepEqual(crds.map((crd): string => crd.spec.names.kind).toSorted(), Object.keys(KINDS).toSorted());
    assert.deepEqual(
      crds.map((crd) => `${crd.spec.names.plural}.yaml`),
      files,
    );
  });

  for (const crd of crds) {
    const { kind, plural, shortNames, categories } = crd.spec.names;
    const [version] = crd.spec.versions;
    const root: Node = version.schema.openAPIV3Schema;

    it(`${kind}: names, category, columns, status, selectable fields`, () => {
      assert.equal(crd.metadata.name, `${plural}.clientvpn.dev`);
      assert.equal(crd.spec.scope, 'Namespaced');
      assert.deepEqual(categories, ['clientvpn']);
      assert.deepEqual(shortNames, [KINDS[kind]?.[0]]);
      assert.deepEqual([version.name, version.served, version.storage], ['v1alpha1', true, true]);
      assert.deepEqual(version.subresources, { status: {} });
      assert.ok(version.additionalPrinterColumns.some((column: { name: string }) => column.name === 'Age'));
      const ofEndpoint = new Map(Object.entries(KINDS)).get(kind)?.[1];
      const selectable = ofEndpoint === true ? [{ jsonPath: '.spec.endpointRef.name' }] : undefined;
      assert.deepEqual(version.selectableFields, selectable);
    });

    it(`${kind}: structural, described, and bounded where CEL looks`, () => {
      visit(root, kind, (node, path) => {
        assert.ok(node.type !== undefined || node['x-kubernetes-int-or-string'] === true, `${path} has a type`);
        for (const keyword of FORBIDDEN) assert.ok(!Object.hasOwn(node, keyword), `${path}: ${keyword}`);
        assert.ok(
          node.properties === undefined || node.additionalProperties === undefined,
          `${path}: both kinds of members`,
        );
        if (node.type === 'array') assert.ok(node['x-kubernetes-list-type'] !== undefined, `${path} has a list type`);
        const isMember = !/(\[\]|\{\})$/.test(path) && path !== `${kind}.metadata`;
        if (isMember) assert.match(node.description ?? '', /^[`A-Z].*\.$/s, `${path} is described`);
      });
      const spec = root.properties?.['spec'];
      assert.ok(spec !== undefined);
      visit(spec, 'spec', (node, path) => {
        const bounded = node['maxLength'] !== undefined || node['enum'] !== undefined || node['format'] === 'date-time';
        if (node.type === 'string') assert.ok(bounded, `${path} has maxLength`);
        if (node.type === 'array') assert.ok(node['maxItems'] !== undefined, `${path} has maxItems`);
        if (node.additionalProperties !== undefined)
          assert.ok(node['maxProperties'] !== undefined, `${path} has maxProperties`);
      });
    });

    it(`${kind}: conditions are a list-map by type`, () => {
      const conditions = root.properties?.['status']?.properties?.['conditions'];
      assert.equal(conditions?.['x-kubernetes-list-type'], 'map');
      assert.deepEqual(conditions?.['x-kubernetes-list-map-keys'], ['type']);
    });

    it(`${kind}: each rule has a message, and its fieldPath exists`, () => {
      visit(root, kind, (node, path) => {
        const rules = (node['x-kubernetes-validations'] ?? []) as { message?: string; fieldPath?: string }[];
        for (const { message, fieldPath } of rules) {
          assert.ok(message !== undefined && message !== '', path);
          if (fieldPath !== undefined)
            assert.ok(node.properties?.[fieldPath.slice(1)] !== undefined, `${path}${fieldPath}`);
        }
      });
    });
  }
});
