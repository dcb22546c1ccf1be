import type { ParseResult } from '@marcbachmann/cel-js';
import { TerminalError } from '../net/errors.ts';
import { celEnvironment } from './cel-environment.ts';
import type { FieldPath } from './manifest-document.ts';
import type { CrdSchema } from './resource-schemas.ts';

export interface RuleViolation {
  readonly path: FieldPath;
  readonly message: string;
  /** The rule could not be evaluated, as a rule on a value of the wrong type can't. */
  readonly evaluated: boolean;
}

interface PreparedRule {
  readonly run: ParseResult;
  readonly message: string;
  readonly fieldPath: readonly string[];
  readonly isTransition: boolean;
}

/** The rules that stand in one CRD's schema (`x-kubernetes-validations`), prepared once. */
export class CelRules {
  readonly #prepared = new Map<CrdSchema, readonly PreparedRule[]>();
  readonly #environment = celEnvironment();
  readonly #root: CrdSchema;

  /** @throws TerminalError naming the rule that is not CEL. */
  constructor(root: CrdSchema) {
    this.#root = root;
    this.#prepare(root);
  }

  /** Rules without `oldSelf`. */
  check(object: unknown): readonly RuleViolation[] {
    const violations: RuleViolation[] = [];
    this.#visit(this.#root, celValue(object), undefined, [], 'state', violations);
    return violations;
  }

  /** Rules with `oldSelf`, at every place that both objects have. */
  checkTransition(oldObject: unknown, newObject: unknown): readonly RuleViolation[] {
    const violations: RuleViolation[] = [];
    this.#visit(this.#root, celValue(newObject), celValue(oldObject), [], 'transition', violations);
    return violations;
  }

  #prepare(schema: CrdSchema): void {
    const rules = schema['x-kubernetes-validations'] ?? [];
    this.#prepared.set(
      schema,
      rules.map(({ rule, message, fieldPath }) => {
        const run = this.#environment.parse(rule);
        const check = run.check();
        if (!check.valid) throw new TerminalError(`CEL rule ${JSON.stringify(rule)}: ${check.error?.message ?? ''}`);
        return {
          run,
          message: message ?? `failed rule: ${rule}`,
          fieldPath: fieldPath === undefined ? [] : fieldPath.split('.').filter((part) => part !== ''),
          isTransition: /\boldSelf\b/.test(rule),
        };
      }),
    );
    for (const child of Object.values(schema.properties ?? {})) this.#prepare(child);
    if (schema.items !== undefined) this.#prepare(schema.items);
    if (schema.additionalProperties !== undefined) this.#prepare(schema.additionalProperties);
  }

  #visit(
    schema: CrdSchema,
    self: unknown,
    oldSelf: unknown,
    path: FieldPath,
    mode: 'state' | 'transition',
    violations: RuleViolation[],
  ): void {
    if (self === null) return;
    for (const rule of this.#prepared.get(schema) ?? []) {
      if (rule.isTransition !== (mode === 'transition')) continue;
      violations.push(...violationsOf(rule, self, oldSelf, path));
    }
    const descend = (child: CrdSchema, key: string | number, value: unknown, oldValue: unknown): void => {
      if (mode === 'transition' && oldValue === undefined) return;
      this.#visit(child, value, oldValue, [...path, key], mode, violations);
    };
    if (Array.isArray(self) && schema.items !== undefined) {
      const { items } = schema;
      // Old and new items can be told to be the same only in a list-map.
      const keys = schema['x-kubernetes-list-map-keys'];
      self.forEach((item: unknown, index) => descend(items, index, item, oldItem(oldSelf, item, keys)));
    } else if (isRecord(self)) {
      for (const [key, value] of Object.entries(self)) {
        const child = ownProperty(schema.properties, key) ?? schema.additionalProperties;
        if (child !== undefined) descend(child, key, value, isRecord(oldSelf) ? ownProperty(oldSelf, key) : undefined);
      }
    }
  }
}

function violationsOf(rule: PreparedRule, self: unknown, oldSelf: unknown, path: FieldPath): readonly RuleViolation[] {
  const place = [...path, ...rule.fieldPath];
  try {
    const holds: unknown = rule.run({ self, oldSelf });
    return holds === true ? [] : [{ path: place, message: rule.message, evaluated: true }];
  } catch {
    return [{ path: place, message: rule.message, evaluated: false }];
  }
}

function oldItem(oldList: unknown, item: unknown, keys: readonly string[] | undefined): unknown {
  if (!Array.isArray(oldList) || keys === undefined || !isRecord(item)) return undefined;
  return oldList.find((old: unknown) => isRecord(old) && keys.every((key) => old[key] === item[key]));
}

/** JSON as CEL sees it: whole numbers are `int`, which the library wants as bigint. */
function celValue(value: unknown): unknown {
  if (typeof value === 'number') return Number.isInteger(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(celValue);
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, celValue(child)]));
}

function ownProperty<T>(record: Readonly<Record<string, T>> | undefined, key: string): T | undefined {
  return record !== undefined && Object.hasOwn(record, key) ? record[key] : undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
