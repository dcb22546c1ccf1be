/**
 * Writes api/v1alpha1/generated/*.ts from crds/*.yaml. Run by `make generate`; a test fails when the
 * files are stale.
 *
 * The types show objects as the API server returns them: fields with a default are there.
 */
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compile } from 'json-schema-to-typescript';
import { parse } from 'yaml';
import { TerminalError } from '../net/errors.ts';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
export const GENERATED_DIR = join(ROOT, 'api', 'v1alpha1', 'generated');

interface Schema {
  readonly [keyword: string]: unknown;
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly additionalProperties?: Schema;
  readonly required?: readonly string[];
  readonly description?: string;
}

/** @returns file name → text of every generated file. */
export async function generateTypes(): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  const crdDir = join(ROOT, 'crds');
  for (const file of (await readdir(crdDir)).filter((name) => name.endsWith('.yaml')).sort()) {
    const crd = parse(await readFile(join(crdDir, file), 'utf8'));
    const kind: string = crd.spec.names.kind;
    files.set(`${fileNameFor(kind)}.ts`, await typesFor(kind, crd.spec.versions[0].schema.openAPIV3Schema));
  }
  return files;
}

async function typesFor(kind: string, root: Schema): Promise<string> {
  // The snapshot's own type is api/endpoint-snapshot.ts; this is the object around it.
  const name = kind === 'EndpointSnapshot' ? 'EndpointSnapshotResource' : kind;
  const properties = root.properties ?? {};
  const { spec, status } = properties;
  if (spec === undefined || status === undefined) throw new TerminalError(`crds: ${kind} needs spec and status`);
  const schema = {
    ...jsonSchema(root),
    title: name,
    required: ['apiVersion', 'kind', 'metadata', 'spec'],
    properties: {
      apiVersion: { const: 'clientvpn.dev/v1alpha1' },
      kind: { const: kind },
      metadata: { tsType: 'ObjectMeta' },
      spec: { ...jsonSchema(spec), title: `${name}Spec` },
      status: { ...jsonSchema(status), title: `${name}Status` },
    },
  };
  const text = await compile(schema, name, {
    additionalProperties: false,
    ignoreMinAndMaxItems: true,
    bannerComment: `// Generated from crds/ by \`make generate\`; do not edit.
import type { Condition } from '../condition.ts';
import type { ObjectMeta } from '../object-meta.ts';
`,
    style: { singleQuote: true, printWidth: 120 },
  });
  return readonlyArrays(text.replaceAll(/^(\s+)((?:'[^']+'|\w+|\[k: string\])\??: )/gm, '$1readonly $2'));
}

/** A CRD's schema as JSON schema: Kubernetes' keywords removed, defaulted fields required. */
function jsonSchema(schema: Schema): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  if (schema.description !== undefined) result['description'] = schema.description;
  if (schema['x-kubernetes-int-or-string'] === true) return { ...result, tsType: 'string | number' };
  if (schema['enum'] !== undefined) result['enum'] = schema['enum'];
  const { properties, items, additionalProperties } = schema;
  result['type'] = schema['nullable'] === true ? [schema.type, 'null'] : schema.type;
  if (properties !== undefined) {
    if (schema['x-kubernetes-list-map-keys'] === undefined && isCondition(properties)) return { tsType: 'Condition' };
    const entries = Object.entries(properties);
    result['properties'] = Object.fromEntries(entries.map(([name, child]) => [name, jsonSchema(child)]));
    const defaulted = entries.filter(([, child]) => child['default'] !== undefined).map(([name]) => name);
    result['required'] = [...new Set([...(schema.required ?? []), ...defaulted])];
    result['additionalProperties'] = false;
  }
  if (items !== undefined) result['items'] = jsonSchema(items);
  if (additionalProperties !== undefined) result['additionalProperties'] = jsonSchema(additionalProperties);
  return result;
}

function isCondition(properties: Readonly<Record<string, Schema>>): boolean {
  return properties['lastTransitionTime'] !== undefined && properties['reason'] !== undefined;
}

/** `T[]` → `readonly T[]`, also where T is an inline object type over many lines. */
function readonlyArrays(text: string): string {
  let result = text;
  for (let at = result.lastIndexOf('[]'); at > 0; at = result.lastIndexOf('[]', at - 1)) {
    let start = at - 1;
    if (result[start] === '}' || result[start] === ')') {
      for (let depth = 0; start >= 0; start -= 1) {
        if (result[start] === '}' || result[start] === ')') depth += 1;
        if (result[start] === '{' || result[start] === '(') depth -= 1;
        if (depth === 0) break;
      }
    } else {
      while (/\w/.test(result[start - 1] ?? '')) start -= 1;
    }
    result = `${result.slice(0, start)}readonly ${result.slice(start)}`;
  }
  return result;
}

function fileNameFor(kind: string): string {
  return kind.replaceAll(/([a-z])([A-Z])/g, '$1-$2').toLowerCase();
}

if (import.meta.main) {
  await mkdir(GENERATED_DIR, { recursive: true });
  for (const [name, text] of await generateTypes()) await writeFile(join(GENERATED_DIR, name), text);
}
