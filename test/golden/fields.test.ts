/**
 * The fields of each kind as they were agreed: type, default, bounds, whether it must be there, and the printer columns.
 * A change of `crds/` shows here as a line. `UPDATE_GOLDEN=1` writes the lists anew; read the difference.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parse } from 'yaml';
import { defaultCrdDirectory, readResourceSchemas, type CrdSchema } from '../../standalone/resource-schemas.ts';
import { listFiles, ROOT } from '../support/source-tree.ts';

interface Column {
  readonly name: string;
  readonly type: string;
  readonly jsonPath: string;
  readonly priority?: number;
}

const LISTS = join(import.meta.dirname, 'fields');
/** Told by other tests, or by the shape of the list itself. */
const LEFT_OUT = ['description', 'properties', 'items', 'additionalProperties', 'required', 'x-kubernetes-validations'];

describe('golden: fields of the kinds', async () => {
  const schemas = await readResourceSchemas(await defaultCrdDirectory());
  for (const path of listFiles(['crds'], '.yaml')) {
    const crd = parse(readFileSync(join(ROOT, path), 'utf8'));
    const { kind } = crd.spec.names as { readonly kind: string };
    it(kind, () => {
      const schema = schemas.get(kind);
      assert.ok(schema !== undefined);
      const columns = crd.spec.versions[0].additionalPrinterColumns as readonly Column[];
      const lines = [
        ...columns.map(({ name, type, jsonPath, priority }) => `column ${name}: ${type} ${jsonPath} ${priority ?? 0}`),
        ...fieldLines(schema, '', false),
      ];
      const actual = `${lines.join('\n')}\n`;
      const file = join(LISTS, `${kind}.txt`);
      if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(file, actual);
      assert.ok(existsSync(file), `no ${file}: run with UPDATE_GOLDEN=1 and read it`);
      assert.deepEqual(actual.split('\n'), readFileSync(file, 'utf8').split('\n'));
    });
  }
});

function fieldLines(schema: CrdSchema, path: string, isRequired: boolean): readonly string[] {
  const facts = Object.entries(schema)
    .filter(([keyword]) => !LEFT_OUT.includes(keyword))
    .map(([keyword, value]) => `${keyword}=${JSON.stringify(value)}`);
  const required = new Set(schema.required);
  return [
    ...(path === '' ? [] : [[path, ...(isRequired ? ['required'] : []), ...facts].join(' ')]),
    ...Object.entries(schema.properties ?? {}).flatMap(([name, child]) =>
      fieldLines(child, path === '' ? name : `${path}.${name}`, required.has(name)),
    ),
    ...(schema.items === undefined ? [] : fieldLines(schema.items, `${path}[]`, false)),
    ...(schema.additionalProperties === undefined ? [] : fieldLines(schema.additionalProperties, `${path}{}`, false)),
  ];
}
