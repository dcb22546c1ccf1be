import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import { parseIpv4 } from '../net/ipv4.ts';
import { CelRules, type RuleViolation } from './cel-rules.ts';
import type { Finding } from './findings.ts';
import { formatPath, objectName, type FieldPath, type ManifestDocument } from './manifest-document.ts';
import type { CrdSchema } from './resource-schemas.ts';

/** A manifest's object with defaults filled in, as the API server would store it, and what is wrong with it. */
export interface ValidatedObject {
  readonly value: Readonly<Record<string, unknown>>;
  readonly findings: readonly Finding[];
}

interface Violation {
  readonly path: FieldPath;
  readonly message: string;
}

/**
 * Checks objects against the schemas and CEL rules of `crds/`, the only place where they stand. Unlike the
 * API server it refuses unknown fields, and it runs CEL even if the schema is violated, to say all at once.
 */
export class SchemaValidator {
  readonly #kinds: ReadonlyMap<
    string,
    { readonly validate: ValidateFunction; readonly schema: CrdSchema; readonly cel: CelRules }
  >;

  /** @throws TerminalError when a CRD holds a rule that is not CEL. */
  constructor(schemas: ReadonlyMap<string, CrdSchema>) {
    const ajv = new Ajv(AJV_OPTIONS);
    this.#kinds = new Map(
      [...schemas].map(([kind, schema]) => [
        kind,
        { validate: ajv.compile(jsonSchema(rootSchema(schema))), schema, cel: new CelRules(schema) },
      ]),
    );
  }

  validate(document: ManifestDocument): ValidatedObject {
    const entry = this.#kinds.get(document.kind);
    const value = structuredClone(document.value) as Record<string, unknown>;
    if (entry === undefined) return { value, findings: [] };
    entry.validate(value);
    const violations = (entry.validate.errors ?? []).map(violationOfError);
    violations.push(...listViolations(entry.schema, value, []));
    const all = withCelViolations(violations, entry.cel.check(value));
    const metadata = { ...(value['metadata'] as object), namespace: document.namespace };
    return { value: { ...value, metadata }, findings: all.map((violation) => findingOf(document, violation)) };
  }

  /** Rules about changes; both objects have passed `validate`. */
  validateTransition(oldValue: unknown, newValue: unknown, document: ManifestDocument): readonly Finding[] {
    const violations = this.#kinds.get(document.kind)?.cel.checkTransition(oldValue, newValue) ?? [];
    return violations.map((violation) => findingOf(document, violation));
  }
}

function findingOf(document: ManifestDocument, violation: Violation): Finding {
  return {
    severity: 'error',
    file: document.file,
    line: document.lineOf(violation.path),
    object: objectName(document),
    field: formatPath(violation.path),
    message: violation.message,
  };
}

/**
 * Joins both kinds of findings: a rule that broke down over a value which the schema refuses anyway is left
 * out, and so is a bad `format` where a rule says more.
 */
function withCelViolations(schema: readonly Violation[], cel: readonly RuleViolation[]): readonly Violation[] {
  const useful = cel.filter(
    ({ evaluated, path }) =>
      evaluated || !schema.some((other) => startsWith(other.path, path) || startsWith(path, other.path)),
  );
  const rest = schema.filter(
    ({ path, message }) => !message.startsWith(FORMAT_PREFIX) || !useful.some((rule) => startsWith(path, rule.path)),
  );
  return [...rest, ...useful];
}

function startsWith(path: FieldPath, prefix: FieldPath): boolean {
  return prefix.every((part, index) => path[index] === part);
}

const FORMAT_PREFIX = 'must be a valid ';

function violationOfError(error: ErrorObject): Violation {
  const path = error.instancePath
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((part) => (/^(0|[1-9][0-9]*)$/.test(part) ? Number(part) : part));
  const params = error.params as Readonly<Record<string, unknown>>;
  switch (error.keyword) {
    case 'required':
      return { path: [...path, String(params['missingProperty'])], message: 'is required' };
    case 'additionalProperties':
      return { path: [...path, String(params['additionalProperty'])], message: 'unknown field' };
    case 'enum':
      return {
        path,
        message: `${show(error.data)} is not one of ${(params['allowedValues'] as unknown[]).join(', ')}`,
      };
    case 'const':
      return { path, message: `must be ${show(params['allowedValue'])}` };
    case 'type':
      return { path, message: `must be ${typeText(params['type'])}, not ${show(error.data)}` };
    case 'format':
      return { path, message: `${FORMAT_PREFIX}${String(params['format'])}, not ${show(error.data)}` };
    default:
      return { path, message: error.message ?? `violates ${error.keyword}` };
  }
}

function typeText(type: unknown): string {
  return Array.isArray(type) ? type.join(' or ') : String(type);
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}

/** `x-kubernetes-list-type: set` and `map`: ajv's `uniqueItems` knows only the first, and CRDs forbid it. */
function listViolations(schema: CrdSchema, value: unknown, path: FieldPath): readonly Violation[] {
  if (Array.isArray(value)) {
    const found: Violation[] = [];
    const seen = new Set<string>();
    value.forEach((item: unknown, index) => {
      const identity = identityOf(schema, item);
      if (identity !== undefined && seen.has(identity))
        found.push({ path: [...path, index], message: 'is there twice' });
      if (identity !== undefined) seen.add(identity);
      if (schema.items !== undefined) found.push(...listViolations(schema.items, item, [...path, index]));
    });
    return found;
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, child]) => {
    const childSchema = schema.properties?.[key] ?? schema.additionalProperties;
    return childSchema === undefined ? [] : listViolations(childSchema, child, [...path, key]);
  });
}

function identityOf(schema: CrdSchema, item: unknown): string | undefined {
  if (schema['x-kubernetes-list-type'] === 'set') return JSON.stringify(item);
  const keys = schema['x-kubernetes-list-map-keys'];
  if (keys === undefined || typeof item !== 'object' || item === null) return undefined;
  return JSON.stringify(keys.map((key) => (item as Record<string, unknown>)[key]));
}

/** apiVersion and kind are known to be right; `metadata` is the API server's own schema. */
function rootSchema(schema: CrdSchema): CrdSchema {
  return {
    ...schema,
    required: [...(schema.required ?? []), 'metadata'],
    properties: { ...schema.properties, metadata: METADATA_SCHEMA },
  };
}

const LABELS: CrdSchema = { type: 'object', additionalProperties: { type: 'string' } };

const METADATA_SCHEMA: CrdSchema = {
  type: 'object',
  properties: {
    name: { type: 'string' },
    generateName: { type: 'string' },
    namespace: { type: 'string' },
    labels: LABELS,
    annotations: LABELS,
    finalizers: { type: 'array', items: { type: 'string' } },
    ownerReferences: { type: 'array', items: { type: 'object' } },
    managedFields: { type: 'array', items: { type: 'object' } },
    uid: { type: 'string' },
    resourceVersion: { type: 'string' },
    selfLink: { type: 'string' },
    generation: { type: 'integer' },
    creationTimestamp: { type: 'string', nullable: true },
    deletionTimestamp: { type: 'string', nullable: true },
    deletionGracePeriodSeconds: { type: 'integer', nullable: true },
  },
};

/** A CRD's structural schema as JSON schema that refuses unknown fields. */
function jsonSchema(schema: CrdSchema): Record<string, unknown> {
  const { properties, items, additionalProperties, ...rest } = schema;
  const keywords = Object.entries(rest).filter(
    ([keyword]) => !keyword.startsWith('x-kubernetes-') && keyword !== 'description',
  );
  const result: Record<string, unknown> = Object.fromEntries(keywords);
  if (schema['x-kubernetes-int-or-string'] === true) result['type'] = ['integer', 'string'];
  if (schema.nullable === true && schema.enum !== undefined) result['enum'] = [...schema.enum, null];
  if (items !== undefined) result['items'] = jsonSchema(items);
  if (properties !== undefined) {
    result['properties'] = Object.fromEntries(
      Object.entries(properties).map(([name, child]) => [name, jsonSchema(child)]),
    );
    result['additionalProperties'] = additionalProperties === undefined ? false : jsonSchema(additionalProperties);
  } else if (additionalProperties !== undefined) {
    result['additionalProperties'] = jsonSchema(additionalProperties);
  }
  return result;
}

/** The formats that crds/ uses, with the API server's meaning: `cidr` lets host bits and IPv6 pass. */
const FORMATS = {
  cidr: (text: string): boolean => /^[0-9a-fA-F.:]+\/[0-9]{1,3}$/.test(text),
  ipv4: (text: string): boolean => parseIpv4(text) !== undefined,
  'date-time': (text: string): boolean => !Number.isNaN(Date.parse(text)),
  int64: true,
} as const;

/** Not optimised: V8 does that, and it would double the time that the schemas take to compile. */
const AJV_OPTIONS = {
  allErrors: true,
  strict: false,
  useDefaults: true,
  formats: FORMATS,
  verbose: true,
  code: { optimize: false },
} as const;
