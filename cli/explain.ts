import type { SnapshotRoute, SnapshotRule } from '../api/endpoint-snapshot.ts';
import { isMeant, objectKey } from '../api/names.ts';
import type { ClientVpnEndpoint } from '../api/v1alpha1/generated/client-vpn-endpoint.ts';
import { emptyEvaluation, PolicyView, type AccessVerdict } from '../dataplane/policy/evaluate.ts';
import { compilePolicy, GroupInterner } from '../dataplane/policy/policy-tables.ts';
import { prefixOf } from '../operator/endpoint/checks/verdict.ts';
import type { CompileResult } from '../operator/endpoint/compile-types.ts';
import { checkManifests, loadValidator, type CheckedManifests } from '../standalone/check-manifests.ts';
import { type Finding, formatFinding, hasErrors, sortFindings } from '../standalone/findings.ts';
import { readManifestFiles } from '../standalone/read-manifests.ts';
import { parseIpv4, type Ipv4 } from '../net/ipv4.ts';
import type { CommandIo } from './command-io.ts';
import { quotasFrom } from './quota-option.ts';

export interface ExplainOptions {
  readonly manifests: readonly string[];
  readonly endpoint: string;
  readonly to: readonly string[];
  readonly groups: readonly string[];
  /** May be left out when the endpoint has one. */
  readonly targetNetwork?: string | undefined;
  readonly quotas: Readonly<Record<string, number>>;
  readonly output: 'text' | 'json';
}

/** One line of `--output json`; the names and their order are part of the command's contract. */
export interface Explanation {
  readonly to: string;
  readonly allowed: boolean;
  readonly reason: AccessVerdict;
  /** Names of what decided; null when nothing did. */
  readonly route: string | null;
  readonly rule: string | null;
  /** Whom the deciding prefix grants: group ids, and `allUsers`. Sorted. */
  readonly grantedTo: readonly string[];
}

/**
 * Tells whether a client with some groups would reach addresses, by the evaluation that the engine uses.
 *
 * @returns the exit code: 0 when all are allowed, 1 when one is not, 2 on bad input.
 */
export async function runExplain(options: ExplainOptions, io: CommandIo): Promise<number> {
  const prepared = await prepare(options, io);
  if (prepared === undefined) return 2;
  const explanations = prepared.addresses.map((address, index) =>
    explain(prepared, options.groups, address, options.to[index] ?? ''),
  );
  for (const explanation of explanations) {
    io.out.write(`${options.output === 'json' ? JSON.stringify(explanation) : sentence(explanation)}\n`);
  }
  return explanations.every((explanation) => explanation.allowed) ? 0 : 1;
}

interface Prepared {
  readonly addresses: readonly Ipv4[];
  readonly view: PolicyView;
  readonly interner: GroupInterner;
  readonly routes: readonly SnapshotRoute[];
  readonly rules: readonly SnapshotRule[];
}

async function prepare(options: ExplainOptions, io: CommandIo): Promise<Prepared | undefined> {
  const fail = (message: string): undefined => {
    io.err.write(`${message}\n`);
  };
  const quotas = quotasFrom(options.quotas);
  if (typeof quotas === 'string') return fail(quotas);
  const addresses: Ipv4[] = [];
  for (const text of options.to) {
    const address = parseIpv4(text);
    if (address === undefined) return fail(`--to: ${JSON.stringify(text)} is not an IPv4 address`);
    addresses.push(address);
  }
  if (addresses.length === 0) return fail('--to: at least one address is needed');

  const read = await readManifestFiles(options.manifests);
  const checked = checkManifests(read.files, await loadValidator(), { quotas, now: Date.now() });
  const fatal = sortFindings([...read.findings, ...checked.schemaFindings]);
  const told = hasErrors(fatal) ? fatal : checked.findings.filter(mattersToReach);
  for (const finding of told) io.err.write(`${formatFinding(finding)}\n`);
  if (hasErrors(fatal)) return undefined;

  const endpoint = findEndpoint(checked, options.endpoint);
  if (typeof endpoint === 'string') return fail(endpoint);
  const { policy } = endpoint.compiled;
  const network = chooseTargetNetwork(Object.keys(policy.routing), options.targetNetwork);
  if (network.error !== undefined) return fail(network.error);
  const routes = policy.routing[network.name] ?? [];
  const interner = new GroupInterner();
  const clientCidr = prefixOf(policy.clientCIDR);
  const source = {
    clientCidr,
    gatewayAddress: clientCidr.address + 1,
    routes: routes.map((route) => ({ prefix: prefixOf(route.cidr), via: route.via })),
    rules: policy.rules.map((rule) => ({ prefix: prefixOf(rule.cidr), allUsers: rule.allUsers, group: rule.groupID })),
  };
  const tables = compilePolicy(source, interner, 1);
  return { addresses, view: new PolicyView(tables.shared), interner, routes, rules: policy.rules };
}

/** Warnings about an endpoint or a target network are about who gets in and how it is served, not what they reach. */
function mattersToReach({ severity, object }: Finding): boolean {
  return severity === 'error' || !/^(ClientVpnEndpoint|TargetNetwork)\//.test(object);
}

function explain(prepared: Prepared, groups: readonly string[], address: Ipv4, to: string): Explanation {
  const evaluation = emptyEvaluation();
  prepared.view.evaluate(address, prepared.interner.idsOf(groups), evaluation);
  const route = prepared.routes[evaluation.routeIndex];
  const atPrefix = prepared.view
    .rulesAtPrefix(evaluation.rulePrefixIndex)
    .map((index) => prepared.rules[index])
    .filter((rule) => rule !== undefined)
    // Between clients only all-users rules count.
    .filter((rule) => rule.allUsers || route?.via !== 'Local')
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const grants = (rule: SnapshotRule): boolean =>
    rule.allUsers || (rule.groupID !== null && groups.includes(rule.groupID));
  const rule = atPrefix.find(grants) ?? atPrefix[0];
  return {
    to,
    allowed: evaluation.verdict === 'Allowed',
    reason: evaluation.verdict,
    route: route?.name ?? null,
    rule: rule?.name ?? null,
    grantedTo: [...new Set(atPrefix.map((one) => (one.allUsers ? 'allUsers' : (one.groupID ?? ''))))].toSorted(),
  };
}

function findEndpoint(
  checked: CheckedManifests,
  name: string,
): { readonly endpoint: ClientVpnEndpoint; readonly compiled: CompileResult } | string {
  const found = checked.set.resources.endpoints.filter(({ metadata }) => isMeant(name, metadata));
  const [endpoint, second] = found;
  if (endpoint === undefined) return `--endpoint: there is no endpoint ${name} in the manifests`;
  if (second !== undefined) return `--endpoint: ${name} is in several namespaces; write NAMESPACE/${name}`;
  const { namespace } = endpoint.metadata;
  const compiled = checked.compiled.endpoints.get(objectKey('ClientVpnEndpoint', namespace, endpoint.metadata.name));
  if (compiled === undefined) return `--endpoint: ${name} could not be compiled`;
  const key = objectKey('ClientVpnEndpoint', namespace, endpoint.metadata.name);
  const accepted = compiled.statuses.get(key)?.status.conditions?.find(({ type }) => type === 'Accepted');
  return accepted?.status === 'True' ? { endpoint, compiled } : `--endpoint: ${name} is not accepted`;
}

function chooseTargetNetwork(
  names: readonly string[],
  wanted: string | undefined,
): { readonly name: string; readonly error?: undefined } | { readonly error: string } {
  if (wanted !== undefined) {
    if (names.includes(wanted)) return { name: wanted };
    return { error: `--target-network: the endpoint has no accepted target network ${wanted}` };
  }
  const [only, ...others] = names;
  if (only !== undefined && others.length === 0) return { name: only };
  if (only === undefined) return { error: 'the endpoint has no accepted target network' };
  return { error: `--target-network is needed, one of: ${names.join(', ')}` };
}

function sentence(explanation: Explanation): string {
  const { to, allowed, reason, route, rule, grantedTo } = explanation;
  const because = {
    Allowed: `route ${route}, rule ${rule}`,
    NoRoute: 'no route of the target network leads there',
    NoRule: `route ${route}, but no rule is about it`,
    NotGranted: `rule ${rule} decides, which grants only ${grantedTo.join(', ')}`,
    SpecialDestination: 'never reachable through the tunnel, whatever the rules',
  }[reason];
  return `${to}: ${allowed ? 'allowed' : `refused (${reason})`}: ${because}`;
}
