import { isAlias, isMap, isPair, isScalar, isSeq, type Document, type LineCounter, type Node } from 'yaml';

/** A path into an object: property names and array indices. */
export type FieldPath = readonly (string | number)[];

/** One YAML document (or item of a `List`) that is an object of ours, a Secret or a ConfigMap. */
export interface ManifestDocument {
  readonly file: string;
  /** Where the document's first line is, 1-based. */
  readonly line: number;
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** As parsed: neither checked against the schema nor filled with defaults. */
  readonly value: Readonly<Record<string, unknown>>;
  /** The line of a field, or of its nearest parent that is there. */
  readonly lineOf: (path: FieldPath) => number;
}

/** Kind and name as findings and statuses print them. */
export function objectName(document: { readonly kind: string; readonly name: string }): string {
  return `${document.kind}/${document.name}`;
}

export function formatPath(path: FieldPath): string {
  if (path.length === 0) return '-';
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    return text === '' ? part : `${text}.${part}`;
  }, '');
}

/** @returns the line of the key at `path` below `root`, or of the deepest part of it that exists. */
export function lineOfPath(document: Document, counter: LineCounter, root: Node | null, path: FieldPath): number {
  let node: unknown = root;
  let offset = root?.range?.[0] ?? document.range?.[0] ?? 0;
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(part));
      if (!isPair(pair)) break;
      offset = (isScalar(pair.key) ? pair.key.range?.[0] : undefined) ?? offset;
      node = pair.value;
    } else if (isSeq(node) && typeof part === 'number' && part < node.items.length) {
      node = node.items[part];
      offset = rangeStart(node) ?? offset;
    } else {
      break;
    }
  }
  return counter.linePos(offset).line;
}

function rangeStart(node: unknown): number | undefined {
  if (isAlias(node) || isScalar(node) || isMap(node) || isSeq(node)) return node.range?.[0];
  return undefined;
}
