import type { Finding } from './findings.ts';
import { formatPath, objectName, type FieldPath, type ManifestDocument } from './manifest-document.ts';

/** A Secret or ConfigMap of the manifests: its values as bytes, by key. */
export interface CoreObject {
  readonly kind: 'Secret' | 'ConfigMap';
  readonly namespace: string;
  readonly name: string;
  readonly data: ReadonlyMap<string, Uint8Array>;
}

const FIELDS = {
  Secret: ['apiVersion', 'kind', 'metadata', 'type', 'immutable', 'data', 'stringData'],
  ConfigMap: ['apiVersion', 'kind', 'metadata', 'immutable', 'data', 'binaryData'],
};
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Reads a Secret (`data` in base64, `stringData` over it) or a ConfigMap (`data`, `binaryData`). */
export function readCoreObject(
  document: ManifestDocument,
  kind: CoreObject['kind'],
): { readonly object: CoreObject; readonly findings: readonly Finding[] } {
  const findings: Finding[] = [];
  const data = new Map<string, Uint8Array>();
  const fail = (path: FieldPath, message: string): void => {
    const { file } = document;
    const line = document.lineOf(path);
    findings.push({ severity: 'error', file, line, object: objectName(document), field: formatPath(path), message });
  };
  const readAll = (field: string, read: (text: string) => Uint8Array | undefined): void => {
    const values = document.value[field];
    if (values === undefined || values === null) return;
    if (typeof values !== 'object' || Array.isArray(values)) {
      fail([field], 'must be object');
      return;
    }
    for (const [key, value] of Object.entries(values)) {
      const bytes = typeof value === 'string' ? read(value) : undefined;
      // The value may be a secret and is never shown.
      if (bytes === undefined) fail([field, key], typeof value === 'string' ? 'is not base64' : 'must be string');
      else data.set(key, bytes);
    }
  };
  for (const field of Object.keys(document.value)) {
    if (!FIELDS[kind].includes(field)) fail([field], 'unknown field');
  }
  const text = (value: string): Uint8Array => new TextEncoder().encode(value);
  readAll('data', kind === 'Secret' ? decodeBase64 : text);
  readAll('binaryData', decodeBase64);
  readAll('stringData', text);
  const { namespace, name } = document;
  return { object: { kind, namespace, name, data }, findings };
}

function decodeBase64(text: string): Uint8Array | undefined {
  const packed = text.replaceAll(/[\r\n]/g, '');
  return BASE64.test(packed) ? new Uint8Array(Buffer.from(packed, 'base64')) : undefined;
}
