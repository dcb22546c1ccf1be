import { isMap, isScalar, isSeq, LineCounter, parseAllDocuments, visit, type Document, type Node } from 'yaml';
import { API_VERSION } from '../api/names.ts';
import type { Finding } from './findings.ts';
import { formatPath, lineOfPath, objectName, type FieldPath, type ManifestDocument } from './manifest-document.ts';
import type { ManifestFile } from './read-manifests.ts';

export interface LoadedManifests {
  /** Kinds of ours, Secrets and ConfigMaps, in the order of the files. */
  readonly documents: readonly ManifestDocument[];
  readonly findings: readonly Finding[];
}

const OUR_GROUP = 'clientvpn.dev';
const OUR_KINDS = ['ClientVpnEndpoint', 'TargetNetwork', 'Route', 'AuthorizationRule', 'IdentityProvider'];
const CORE_KINDS = ['Secret', 'ConfigMap'];
const MAX_ALIASES = 100;
/** The first errors of a document are its own; the rest follow from them. */
const MAX_YAML_ERRORS = 10;
const DNS_SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const DNS_LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

/** Splits manifest files into documents. Everything that is wrong is a finding; nothing throws. */
export function loadManifests(files: readonly ManifestFile[]): LoadedManifests {
  const findings: Finding[] = [];
  const documents: ManifestDocument[] = [];
  const seen = new Map<string, ManifestDocument>();
  for (const file of files) {
    for (const document of documentsOfFile(file, findings)) {
      const key = `${document.kind}/${document.namespace}/${document.name}`;
      const first = seen.get(key);
      if (first === undefined || document.name === '-') {
        seen.set(key, document);
        documents.push(document);
      } else {
        findings.push({
          severity: 'error',
          file: document.file,
          line: document.line,
          object: objectName(document),
          field: 'metadata.name',
          message: `defined twice: here and at ${first.file}:${first.line}`,
        });
      }
    }
  }
  return { documents, findings };
}

function documentsOfFile(file: ManifestFile, findings: Finding[]): readonly ManifestDocument[] {
  const counter = new LineCounter();
  const fail = (line: number, message: string): void => {
    findings.push({ severity: 'error', file: file.path, line, object: '-', field: '-', message });
  };
  try {
    const parsed = parseAllDocuments(file.text, {
      lineCounter: counter,
      merge: true,
      prettyErrors: false,
      uniqueKeys: false,
    });
    // The library's own check for keys that are there twice compares each with each.
    const result: ManifestDocument[] = [];
    for (const document of parsed) {
      if (document.errors.length > 0) {
        for (const error of document.errors.slice(0, MAX_YAML_ERRORS))
          fail(counter.linePos(error.pos[0]).line, `YAML: ${withoutSource(error.message)}`);
        continue;
      }
      const twice = keysThereTwice(document);
      for (const key of twice)
        fail(counter.linePos(key.offset).line, `YAML: key ${JSON.stringify(key.text)} is there twice`);
      if (twice.length === 0) result.push(...objectsOf(document, counter, file.path, findings));
    }
    return result;
  } catch (cause) {
    // The parser recurses: nesting deep enough to exhaust the stack ends here.
    fail(1, `YAML: ${withoutSource(cause instanceof Error ? cause.message : String(cause))}`);
    return [];
  }
}

/** What the parser quotes may be the value of a Secret: a password that begins with an asterisk reads as an alias. */
function withoutSource(message: string): string {
  return message.replace(/: [\s\S]*$/, '');
}

interface KeyPlace {
  readonly text: string;
  readonly offset: number;
}

function keysThereTwice(document: Document): readonly KeyPlace[] {
  const twice: KeyPlace[] = [];
  visit(document, {
    Map(_, map) {
      const seen = new Set<string>();
      for (const { key } of map.items) {
        const text = isScalar(key) ? String(key.value) : undefined;
        if (text === undefined || text === '<<') continue;
        if (seen.has(text)) twice.push({ text, offset: (isScalar(key) ? key.range?.[0] : undefined) ?? 0 });
        seen.add(text);
      }
    },
  });
  return twice;
}

function objectsOf(
  document: Document,
  counter: LineCounter,
  file: string,
  findings: Finding[],
): readonly ManifestDocument[] {
  const root = document.contents;
  if (root === null) return [];
  const line = counter.linePos(root.range?.[0] ?? 0).line;
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (cause) {
    const message = `YAML: ${withoutSource(cause instanceof Error ? cause.message : String(cause))}`;
    findings.push({ severity: 'error', file, line, object: '-', field: '-', message });
    return [];
  }
  if (value === null) return [];
  if (isObject(value) && value['apiVersion'] === 'v1' && value['kind'] === 'List' && Array.isArray(value['items'])) {
    return value['items'].flatMap((item: unknown, index) => {
      const node = isMap(root) ? root.get('items', true) : undefined;
      const itemNode = isSeq(node) ? (node.items[index] as Node) : root;
      return oneObject(item, file, findings, (path) => lineOfPath(document, counter, itemNode, path));
    });
  }
  return oneObject(value, file, findings, (path) => lineOfPath(document, counter, root, path));
}

function oneObject(
  value: unknown,
  file: string,
  findings: Finding[],
  lineOf: (path: FieldPath) => number,
): readonly ManifestDocument[] {
  const text = (field: unknown): string => (typeof field === 'string' ? field : '');
  const object = isObject(value) ? value : {};
  const metadata = isObject(object['metadata']) ? object['metadata'] : {};
  const apiVersion = text(object['apiVersion']);
  const kind = text(object['kind']);
  const name = text(metadata['name']);
  const report = (severity: Finding['severity'], path: FieldPath, message: string): void => {
    const label = kind === '' ? '-' : objectName({ kind, name: name === '' ? '-' : name });
    findings.push({ severity, file, line: lineOf(path), object: label, field: formatPath(path), message });
  };
  if (!isObject(value)) {
    report('error', [], 'not an object: apiVersion, kind and metadata are expected');
    return [];
  }
  if (apiVersion === '' || kind === '') {
    report('error', [apiVersion === '' ? 'apiVersion' : 'kind'], 'is required');
    return [];
  }
  const group = apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
  const ours = group === OUR_GROUP;
  if (!ours && !(apiVersion === 'v1' && CORE_KINDS.includes(kind))) {
    report('warning', [], `skipped: ${apiVersion} ${kind} is not for Client VPN`);
    return [];
  }
  if (ours && apiVersion !== API_VERSION) {
    report('error', ['apiVersion'], `unknown version ${apiVersion}, expected ${API_VERSION}`);
    return [];
  }
  if (ours && !OUR_KINDS.includes(kind)) {
    const known = OUR_KINDS.join(', ');
    const message =
      kind === 'EndpointSnapshot'
        ? 'is written by the operator, not by people'
        : `unknown kind ${kind}, expected one of ${known}`;
    report('error', ['kind'], message);
    return [];
  }
  if (name === '' || name.length > 253 || !DNS_SUBDOMAIN.test(name)) {
    const message = name === '' ? 'is required' : `${JSON.stringify(name)} is not a DNS-1123 subdomain`;
    report('error', ['metadata', 'name'], message);
  }
  const namespace = metadata['namespace'] === undefined ? 'default' : text(metadata['namespace']);
  if (namespace.length > 63 || !DNS_LABEL.test(namespace)) {
    report('error', ['metadata', 'namespace'], 'is not a DNS-1123 label');
  }
  // A document with a bad name goes on, so that one run tells all that is wrong with it.
  return [{ file, line: lineOf([]), apiVersion, kind, namespace, name: name === '' ? '-' : name, value, lineOf }];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
