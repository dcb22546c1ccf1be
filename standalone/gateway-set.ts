import type { DataPlaneConfig } from '../api/data-plane-config.ts';
import type { EndpointSnapshot } from '../api/endpoint-snapshot.ts';
import { objectKey } from '../api/names.ts';
import type { ClientVpnEndpoint } from '../api/v1alpha1/generated/client-vpn-endpoint.ts';
import type { IdentityProvider } from '../api/v1alpha1/generated/identity-provider.ts';
import type { TargetNetwork } from '../api/v1alpha1/generated/target-network.ts';
import type { Quotas } from '../operator/endpoint/checks/quotas.ts';
import { compileSet } from '../operator/endpoint/compile-set.ts';
import type { Rollout, StatusMap } from '../operator/endpoint/compile-types.ts';
import { renewalTime, type AutoPki } from './auto-pki.ts';
import { checkManifests, lookupIn, type CheckedManifests } from './check-manifests.ts';
import type { ClientConfigSource } from './client-config-source.ts';
import { hasErrors, sortFindings, type Finding } from './findings.ts';
import { gatherFacts, unnamedWrapSecret } from './gather-facts.ts';
import type { ManifestDocument } from './manifest-document.ts';
import type { ManifestSet } from './manifest-set.ts';
import { readManifestFiles } from './read-manifests.ts';
import type { SchemaValidator } from './schema-validation.ts';
import { readMaterial } from './secret-material.ts';

export interface GatewaySetOptions {
  readonly paths: readonly string[];
  /** Name of the target network to serve; undefined: the only one. */
  readonly targetNetwork: string | undefined;
  readonly quotas: Quotas;
  /** Null without `--auto-pki`. */
  readonly autoPki: AutoPki | null;
  /** What auto PKI made so far, by `Secret/namespace/name`; grows. */
  readonly madeSecrets: Map<string, ReadonlyMap<string, Uint8Array>>;
  readonly authTokenKey: string;
  readonly validator: SchemaValidator;
  readonly epoch: number;
}

/** A set of manifests that a gateway can serve. */
export interface ServedSet {
  readonly config: DataPlaneConfig;
  readonly endpoint: ClientVpnEndpoint;
  readonly targetNetwork: TargetNetwork;
  readonly clientConfig: ClientConfigSource;
  readonly warnings: readonly Finding[];
  /** When to read it again to renew a certificate made by auto PKI, in milliseconds since 1970; infinite for never. */
  readonly renewsAt: number;
  /** Statuses as of a state of the data plane. */
  readonly statuses: (rollout: Rollout, previous: StatusMap, now: number) => StatusMap;
}

/** `set` is there if and only if no finding is an error. */
export interface GatewaySetReading {
  readonly set: ServedSet | null;
  readonly findings: readonly Finding[];
}

/**
 * Reads the manifests and compiles what a gateway serves of them. Everything wrong with them is a finding.
 *
 * @param running what is served now: the new set must be one it can change into without a restart
 * @param now milliseconds since 1970
 */
export async function readGatewaySet(
  options: GatewaySetOptions,
  running: ServedSet | null,
  now: number,
): Promise<GatewaySetReading> {
  const { files, findings: fileFindings } = await readManifestFiles(options.paths);
  const check = (): CheckedManifests =>
    checkManifests(files, options.validator, {
      quotas: options.quotas,
      now,
      tolerated: new Set(running === null ? ['unusable-list'] : ['unusable-list', 'outdated-certificate']),
      lookup: (kind, namespace, name) => options.madeSecrets.get(`${kind}/${namespace}/${name}`),
      running: { ...NOTHING_RUNS, epoch: options.epoch, previous: previousSnapshots(running) },
    });
  let checked = check();
  const findings: Finding[] = [...fileFindings];
  const served = selectServed(checked, options, running, findings);
  // Certificates for Secrets named for the first time; the facts about them need a second look.
  if (served !== null && (await makeMissingSecrets(options, checked.set, served.endpoint))) checked = check();
  if (running !== null && served !== null && running.renewsAt <= now) {
    const failure = await renewServerSecret(options, checked.set, served.endpoint);
    if (failure === null) checked = check();
    else findings.push(failure);
  }
  findings.push(...checked.findings);
  if (served !== null && running !== null) findings.push(...transitionFindings(options, checked.set, running, served));
  const set = served === null ? null : assemble(options, checked, served, now, findings);
  const sorted = sortFindings(saidOnce(findings));
  const warnings = sorted.filter((finding) => finding.severity === 'warning');
  return { set: set === null || hasErrors(sorted) ? null : { ...set, warnings }, findings: sorted };
}

/** What is a warning to whoever only checks, such as a Secret that is missing, is an error here at the same place. */
function saidOnce(findings: readonly Finding[]): readonly Finding[] {
  const errors = new Set(findings.filter(({ severity }) => severity === 'error').map(placeOf));
  return findings.filter((finding) => finding.severity === 'error' || !errors.has(placeOf(finding)));
}

function placeOf({ file, object, field }: Finding): string {
  return JSON.stringify([file, object, field]);
}

interface Served {
  readonly targetNetwork: TargetNetwork;
  readonly endpoint: ClientVpnEndpoint;
  readonly provider: IdentityProvider | undefined;
}

function selectServed(
  { set: { resources, documents, faulty }, findings: known }: CheckedManifests,
  options: GatewaySetOptions,
  running: ServedSet | null,
  findings: Finding[],
): Served | null {
  const fail = (message: string): null => {
    // With faulty objects about, what is missing may be among them: they are named already.
    if (faulty.size === 0 && !hasErrors([...known, ...findings])) findings.push(generalFinding(options, message));
    return null;
  };
  const wanted = running?.targetNetwork.metadata.name ?? options.targetNetwork;
  const candidates = resources.targetNetworks.filter(
    ({ metadata }) =>
      (wanted === undefined || metadata.name === wanted) &&
      (running === null || metadata.namespace === running.targetNetwork.metadata.namespace),
  );
  const [targetNetwork] = candidates;
  if (targetNetwork === undefined) {
    if (running !== null) return fail(`the target network ${wanted} that is being served is gone; restart to apply`);
    return fail(wanted === undefined ? 'there is no TargetNetwork' : `there is no TargetNetwork ${wanted}`);
  }
  if (candidates.length > 1) {
    const names = candidates.map(({ metadata }) => metadata.name).join(', ');
    return fail(`a gateway serves one target network; choose one of ${names} with --target-network`);
  }
  const { namespace } = targetNetwork.metadata;
  const name = targetNetwork.spec.endpointRef.name;
  const endpoint = resources.endpoints.find(
    ({ metadata }) => metadata.namespace === namespace && metadata.name === name,
  );
  if (endpoint === undefined) {
    // Compilation reports an endpoint that is referred to but missing.
    return documents.size === 0 ? fail(`there is no ClientVpnEndpoint ${name}`) : null;
  }
  if (running !== null && running.endpoint.metadata.name !== name)
    return fail(`the target network now belongs to another endpoint, ${name}; restart to apply`);
  const providerName = endpoint.spec.authentication.local?.identityProviderRef.name;
  const provider = resources.identityProviders.find(
    ({ metadata }) => metadata.namespace === namespace && metadata.name === providerName,
  );
  return { targetNetwork, endpoint, provider };
}

/** Routes and rules of files have no identity beyond their name: a changed one counts as a new one. */
function transitionFindings(
  { validator }: GatewaySetOptions,
  manifests: ManifestSet,
  running: ServedSet,
  served: Served,
): readonly Finding[] {
  const document = documentOf(manifests, served.endpoint);
  if (document === undefined) return [];
  const findings = [...validator.validateTransition(running.endpoint, served.endpoint, document)];
  if (running.endpoint.spec.port !== served.endpoint.spec.port)
    findings.push(findingAt(document, ['spec', 'port'], 'the port is bound at the start'));
  return findings.map((finding) => ({ ...finding, message: `${finding.message}; restart to apply` }));
}

/** @returns whether any were made that had not been made before. */
async function makeMissingSecrets(
  { autoPki, madeSecrets }: GatewaySetOptions,
  { coreObjects }: ManifestSet,
  { metadata, spec }: ClientVpnEndpoint,
): Promise<boolean> {
  if (autoPki === null) return false;
  const { namespace, name } = metadata;
  const made = new Map<string, Map<string, Uint8Array>>();
  const make = async (
    secret: string | undefined,
    produce: (secret: string) => ReadonlyMap<string, Uint8Array> | Promise<ReadonlyMap<string, Uint8Array>>,
  ): Promise<void> => {
    const key = `Secret/${namespace}/${secret}`;
    if (secret === undefined || coreObjects.has(key) || madeSecrets.has(key)) return;
    // One Secret may serve several purposes.
    made.set(key, new Map([...(made.get(key) ?? []), ...(await produce(secret))]));
  };
  const clientCa = spec.authentication.mutual?.clientCA.secretRef;
  await make(clientCa?.name, (secret) => autoPki.clientCaSecret(namespace, secret, clientCa?.key ?? 'ca.crt'));
  await make(spec.serverCertificate.secretRef.name, (secret) => autoPki.serverSecret(namespace, secret, name));
  const { controlWrap } = spec;
  if (controlWrap !== 'None')
    await make(spec.controlWrapSecretRef?.name ?? unnamedWrapSecret(name), (secret) =>
      autoPki.wrapSecret(namespace, secret, controlWrap),
    );
  for (const [key, data] of made) madeSecrets.set(key, data);
  return made.size > 0;
}

/** @returns a warning when it has to wait; the certificate that holds goes on meanwhile. */
async function renewServerSecret(
  { autoPki, madeSecrets }: GatewaySetOptions,
  manifests: ManifestSet,
  endpoint: ClientVpnEndpoint,
): Promise<Finding | null> {
  const { namespace, name } = endpoint.metadata;
  const secret = endpoint.spec.serverCertificate.secretRef.name;
  const key = `Secret/${namespace}/${secret}`;
  const made = madeSecrets.get(key);
  const document = documentOf(manifests, endpoint);
  if (autoPki === null || made === undefined || manifests.coreObjects.has(key) || document === undefined) return null;
  try {
    madeSecrets.set(key, new Map([...made, ...(await autoPki.renewedServerSecret(namespace, secret, name, made))]));
    return null;
  } catch (error) {
    const message = `the certificate could not be renewed: ${error instanceof Error ? error.message : String(error)}`;
    return { ...findingAt(document, ['spec', 'serverCertificate', 'secretRef', 'name'], message), severity: 'warning' };
  }
}

function previousSnapshots(running: ServedSet | null): ReadonlyMap<string, EndpointSnapshot> {
  return running === null ? new Map() : new Map([[keyOf(running.endpoint), running.config.snapshot]]);
}

/** Adds its findings to `findings`. */
function assemble(
  options: GatewaySetOptions,
  { set: manifests, compiled }: CheckedManifests,
  served: Served,
  now: number,
  findings: Finding[],
): Omit<ServedSet, 'warnings'> | null {
  const { endpoint, targetNetwork, provider } = served;
  const key = keyOf(endpoint);
  const lookup = lookupIn(manifests, (kind, namespace, name) =>
    options.madeSecrets.get(`${kind}/${namespace}/${name}`),
  );
  const reading = readMaterial(endpoint, provider, lookup, now);
  if (reading.kind === 'incomplete') {
    for (const { object, field, message, canBeMade } of reading.problems) {
      const document = manifests.documents.get(object);
      const advice = canBeMade && options.autoPki === null ? '. Put it into the manifests, or use --auto-pki' : '';
      if (document === undefined) continue;
      const finding = findingAt(document, field, `${message}${advice}`);
      const isSaid = findings.some((one) => one.severity === 'error' && placeOf(one) === placeOf(finding));
      if (!isSaid) findings.push(finding);
    }
    return null;
  }
  const snapshot = compiled.endpoints.get(key)?.snapshot ?? null;
  const { name, namespace } = targetNetwork.metadata;
  if (snapshot === null || snapshot.routing[name] === undefined) {
    // Somebody has to have said why; without a word from the compiler this stands in.
    if (!hasErrors(findings)) findings.push(generalFinding(options, `the endpoint can't be served in ${namespace}`));
    return null;
  }
  return {
    config: { snapshot, targetNetwork: name, secrets: { ...reading.material, authTokenKey: options.authTokenKey } },
    endpoint,
    targetNetwork,
    renewsAt: manifests.coreObjects.has(
      `Secret/${endpoint.metadata.namespace}/${endpoint.spec.serverCertificate.secretRef.name}`,
    )
      ? Number.POSITIVE_INFINITY
      : renewalTime(reading.material.serverCertificatePem, reading.serverCaPem),
    clientConfig: clientConfigOf(served, reading.material.controlWrapKey, reading.serverCaPem, manifests),
    statuses: (rollout, previousStatuses, at) => {
      const { resources } = manifests;
      const facts = gatherFacts(resources, lookup, at);
      const { quotas, epoch } = options;
      const running = {
        rollouts: new Map([[key, rollout]]),
        previous: new Map([[key, snapshot]]),
        previousStatuses,
        epoch,
      };
      return compileSet({ resources, ...facts, quotas, now: at, ...running }).statuses;
    },
  };
}

function clientConfigOf(
  { endpoint, provider }: Served,
  controlWrapKey: string | null,
  serverCaPem: string,
  { coreObjects }: ManifestSet,
): ClientConfigSource {
  const { name, namespace } = endpoint.metadata;
  const { mutual } = endpoint.spec.authentication;
  const clientCa = mutual?.clientCA.secretRef?.name;
  const mfa = provider?.spec.local?.mfa;
  return {
    formatVersion: 1,
    endpoint: name,
    namespace,
    transport: endpoint.spec.transport,
    port: endpoint.spec.port,
    serverCaPem,
    mutual: mutual !== undefined,
    ownClientCa: clientCa === undefined || coreObjects.has(`Secret/${namespace}/${clientCa}`) ? null : clientCa,
    userLogin: provider === undefined ? null : { mfaPrompt: mfa?.enabled === true ? mfa.prompt : null },
    controlWrap: endpoint.spec.controlWrap,
    controlWrapKey,
  };
}

function keyOf({ metadata }: ClientVpnEndpoint): string {
  return objectKey('ClientVpnEndpoint', metadata.namespace, metadata.name);
}

function documentOf(manifests: ManifestSet, endpoint: ClientVpnEndpoint): ManifestDocument | undefined {
  return manifests.documents.get(keyOf(endpoint));
}

function findingAt(document: ManifestDocument, path: readonly (string | number)[], message: string): Finding {
  const { file, kind, name } = document;
  const field = path.join('.');
  return { severity: 'error', file, line: document.lineOf(path), object: `${kind}/${name}`, field, message };
}

function generalFinding({ paths }: GatewaySetOptions, message: string): Finding {
  return { severity: 'error', file: paths.join(', '), line: 1, object: '-', field: '-', message };
}

const NOTHING_RUNS = { rollouts: new Map(), previousStatuses: new Map() } as const;
