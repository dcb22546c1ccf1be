import { objectKey } from '../api/names.ts';
import { secretFindings, type ToleratedSecret } from '../operator/endpoint/checks/secret-findings.ts';
import type { Quotas } from '../operator/endpoint/checks/quotas.ts';
import { compileSet, type CompileSetInput, type CompileSetResult } from '../operator/endpoint/compile-set.ts';
import type { CompileFinding } from '../operator/endpoint/compile-types.ts';
import { sortFindings, type Finding } from './findings.ts';
import { gatherFacts, type CoreObjectLookup } from './gather-facts.ts';
import { isEcho, placeFinding, readManifestSet, type ManifestSet } from './manifest-set.ts';
import { objectName } from './manifest-document.ts';
import type { ManifestFile } from './read-manifests.ts';
import { defaultCrdDirectory, readResourceSchemas } from './resource-schemas.ts';
import { SchemaValidator } from './schema-validation.ts';

export interface CheckOptions {
  readonly quotas: Quotas;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Where Secrets that are not among the manifests may be. */
  readonly lookup?: CoreObjectLookup;
  /** Faults of Secrets that are warnings only; none unless said otherwise. */
  readonly tolerated?: ReadonlySet<ToleratedSecret>;
  /** What a running gateway knows. */
  readonly running?: Pick<CompileSetInput, 'rollouts' | 'previous' | 'previousStatuses' | 'epoch'>;
}

export interface CheckedManifests {
  readonly set: ManifestSet;
  readonly compiled: CompileSetResult;
  /** Of files, schema and CEL: an object that has one is not in `compiled`. */
  readonly schemaFindings: readonly Finding[];
  /** Of everything, in order. */
  readonly findings: readonly Finding[];
}

/**
 * A validator for the CRDs beside this code, made once per process (preparing it takes about 0.2 s), or for
 * those in another folder.
 */
export async function loadValidator(crdDirectory?: string): Promise<SchemaValidator> {
  if (crdDirectory !== undefined) return new SchemaValidator(await readResourceSchemas(crdDirectory));
  shippedValidator ??= defaultCrdDirectory().then(loadValidator);
  return shippedValidator;
}

let shippedValidator: Promise<SchemaValidator> | undefined;

/** Files → schema, CEL → facts → compile: all that `validate` says, and all that standalone mode serves from. */
export function checkManifests(
  files: readonly ManifestFile[],
  validator: SchemaValidator,
  options: CheckOptions,
): CheckedManifests {
  const set = readManifestSet(files, validator);
  const { facts, users } = gatherFacts(set.resources, lookupIn(set, options.lookup), options.now);
  const { quotas, now } = options;
  const running = options.running ?? {
    rollouts: new Map(),
    previous: new Map(),
    previousStatuses: new Map(),
    epoch: 0,
  };
  const compiled = compileSet({ resources: set.resources, facts, users, quotas, now, ...running });
  const aboutSecrets = set.resources.endpoints.flatMap((endpoint): readonly CompileFinding[] => {
    const { namespace, name } = endpoint.metadata;
    const found = facts.get(objectKey('ClientVpnEndpoint', namespace, name));
    return found === undefined ? [] : secretFindings(endpoint, found, options.tolerated);
  });
  const compileFindings = [...compiled.findings, ...aboutSecrets].filter((finding) => !isEcho(set, finding));
  const placed = compileFindings.map((finding) => placeFinding(set, finding));
  return {
    set,
    compiled,
    schemaFindings: sortFindings(set.findings),
    findings: sortFindings([...set.findings, ...placed]),
  };
}

/** A warning for each endpoint without a target network: it may wait for its first, but a gateway can't serve it. */
export function unattachedEndpoints({ resources, documents, faulty }: ManifestSet): readonly Finding[] {
  // Those that are faulty may be what is missing.
  const isUnknown = [...faulty].some((key) => key.startsWith('TargetNetwork/'));
  return resources.endpoints.flatMap(({ metadata: { namespace, name } }): readonly Finding[] => {
    const document = documents.get(objectKey('ClientVpnEndpoint', namespace, name));
    const has = resources.targetNetworks.some(
      ({ metadata, spec }) => metadata.namespace === namespace && spec.endpointRef.name === name,
    );
    if (document === undefined || has || isUnknown) return [];
    const { file, line } = document;
    const message = 'there is no TargetNetwork of it, without which no gateway can serve it';
    return [{ severity: 'warning', file, line, object: objectName(document), field: '-', message }];
  });
}

/** Secrets and ConfigMaps of the manifests, then of `more`. */
export function lookupIn(set: ManifestSet, more?: CoreObjectLookup): CoreObjectLookup {
  return (kind, namespace, name) =>
    set.coreObjects.get(`${kind}/${namespace}/${name}`)?.data ?? more?.(kind, namespace, name);
}
