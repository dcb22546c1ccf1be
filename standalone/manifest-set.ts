import { objectKey, type Kind } from '../api/names.ts';
import type { AuthorizationRule } from '../api/v1alpha1/generated/authorization-rule.ts';
import type { ClientVpnEndpoint } from '../api/v1alpha1/generated/client-vpn-endpoint.ts';
import type { IdentityProvider } from '../api/v1alpha1/generated/identity-provider.ts';
import type { Route } from '../api/v1alpha1/generated/route.ts';
import type { TargetNetwork } from '../api/v1alpha1/generated/target-network.ts';
import type { CompileFinding } from '../operator/endpoint/compile-types.ts';
import type { ResourceSet } from '../operator/endpoint/compile-set.ts';
import { readCoreObject, type CoreObject } from './core-objects.ts';
import type { Finding } from './findings.ts';
import { loadManifests } from './load-manifests.ts';
import { objectName, type FieldPath, type ManifestDocument } from './manifest-document.ts';
import type { ManifestFile } from './read-manifests.ts';
import type { SchemaValidator } from './schema-validation.ts';

/** What a set of manifest files says. */
export interface ManifestSet {
  /** Objects without findings only. */
  readonly resources: ResourceSet;
  /** By `Secret/namespace/name` and `ConfigMap/namespace/name`. */
  readonly coreObjects: ReadonlyMap<string, CoreObject>;
  /** By `objectKey`; faulty objects too. */
  readonly documents: ReadonlyMap<string, ManifestDocument>;
  /** Keys of the objects that schema or CEL refused. */
  readonly faulty: ReadonlySet<string>;
  readonly findings: readonly Finding[];
}

/** Loads and checks files. Everything wrong is a finding; nothing throws. */
export function readManifestSet(files: readonly ManifestFile[], validator: SchemaValidator): ManifestSet {
  const { documents, findings: loadFindings } = loadManifests(files);
  const findings: Finding[] = [...loadFindings];
  const coreObjects = new Map<string, CoreObject>();
  const byKey = new Map<string, ManifestDocument>();
  const faulty = new Set<string>();
  const valid: unknown[] = [];
  for (const document of documents) {
    const { kind, namespace, name } = document;
    if (kind === 'Secret' || kind === 'ConfigMap') {
      const core = readCoreObject(document, kind);
      findings.push(...core.findings);
      coreObjects.set(`${kind}/${namespace}/${name}`, core.object);
      continue;
    }
    const key = objectKey(kind as Kind, namespace, name);
    byKey.set(key, document);
    const checked = validator.validate(document);
    findings.push(...checked.findings);
    // A bad name or namespace was found while loading.
    const isFaulty = checked.findings.length > 0 || loadFindings.some((finding) => isAbout(finding, document));
    if (isFaulty) faulty.add(key);
    else valid.push(checked.value);
  }
  return { resources: resourceSet(valid), coreObjects, documents: byKey, faulty, findings };
}

/** Gives findings of `compile` their place in the files. */
export function placeFinding(set: ManifestSet, finding: CompileFinding): Finding {
  const { severity, kind, namespace, name, reason } = finding;
  const document = set.documents.get(objectKey(kind, namespace, name));
  return {
    severity,
    file: document?.file ?? '-',
    line: document?.lineOf(pathOf(finding.field)) ?? 1,
    object: objectName({ kind, name }),
    field: finding.field,
    message: `${reason}: ${finding.message}`,
  };
}

/**
 * Whether a finding is merely the echo of another object being faulty, as a reference to it is: mending the
 * fault mends both.
 */
export function isEcho(set: ManifestSet, finding: CompileFinding): boolean {
  const suspects: Readonly<Record<string, Kind>> = {
    EndpointNotFound: 'ClientVpnEndpoint',
    TargetNetworkNotFound: 'TargetNetwork',
    TargetNetworkNotAccepted: 'TargetNetwork',
    IdentityProviderNotFound: 'IdentityProvider',
  };
  const kind = suspects[finding.reason] ?? (finding.reason === 'NoRoute' ? 'Route' : undefined);
  return kind !== undefined && [...set.faulty].some((key) => key.startsWith(`${kind}/${finding.namespace}/`));
}

function isAbout(finding: Finding, document: ManifestDocument): boolean {
  return finding.severity === 'error' && finding.file === document.file && finding.object === objectName(document);
}

function pathOf(field: string): FieldPath {
  if (field === '-') return [];
  return field.split('.').flatMap((part) => {
    const [name = '', ...indices] = part.split(/[[\]]+/).filter((piece) => piece !== '');
    return [name, ...indices.map(Number)];
  });
}

/** Each object has passed the schema of its kind, from which the type was generated. */
function resourceSet(objects: readonly unknown[]): ResourceSet {
  const ofKind = <T extends { readonly kind: string }>(kind: T['kind']): readonly T[] =>
    (objects as readonly T[]).filter((object) => object.kind === kind);
  return {
    endpoints: ofKind<ClientVpnEndpoint>('ClientVpnEndpoint'),
    targetNetworks: ofKind<TargetNetwork>('TargetNetwork'),
    routes: ofKind<Route>('Route'),
    rules: ofKind<AuthorizationRule>('AuthorizationRule'),
    identityProviders: ofKind<IdentityProvider>('IdentityProvider'),
  };
}
