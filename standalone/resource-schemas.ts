import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';

/** The part of a CRD's structural schema that validation reads. */
export interface CrdSchema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, CrdSchema>>;
  readonly items?: CrdSchema;
  readonly additionalProperties?: CrdSchema;
  readonly required?: readonly string[];
  readonly nullable?: boolean;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly format?: string;
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxProperties?: number;
  readonly 'x-kubernetes-int-or-string'?: boolean;
  readonly 'x-kubernetes-list-type'?: 'set' | 'map' | 'atomic';
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
  readonly 'x-kubernetes-validations'?: readonly {
    readonly rule: string;
    readonly message?: string;
    readonly fieldPath?: string;
  }[];
}

/** @returns kind → root schema, of every CRD file in `directory`. */
export async function readResourceSchemas(directory: string): Promise<ReadonlyMap<string, CrdSchema>> {
  const schemas = new Map<string, CrdSchema>();
  for (const name of (await readdir(directory)).filter((file) => file.endsWith('.yaml')).sort()) {
    const crd = parse(await readFile(join(directory, name), 'utf8')) as {
      spec: { names: { kind: string }; versions: { schema: { openAPIV3Schema: CrdSchema } }[] };
    };
    const schema = crd.spec.versions[0]?.schema.openAPIV3Schema;
    if (schema !== undefined) schemas.set(crd.spec.names.kind, schema);
  }
  return schemas;
}

/** The `crds/` folder beside this code, in a checkout as in `dist/`. */
export async function defaultCrdDirectory(): Promise<string> {
  const here = dirname(fileURLToPath(import.meta.url));
  const beside = join(here, '..', 'crds');
  return (await readdir(beside).catch(() => [])).length > 0 ? beside : join(here, '..', '..', 'crds');
}
