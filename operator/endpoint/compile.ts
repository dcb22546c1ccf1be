import { objectKey } from '../../api/names.ts';
import { routeAdvisories, routeGaps, ruleAdvisories } from './checks/advisories.ts';
import { checkAuthorizationRules } from './checks/authorization-rules.ts';
import { checkEndpoint, findIdentityProvider, whatNoneServes } from './checks/endpoint.ts';
import { endpointNotServed, targetNetworkNotServed } from './checks/not-served.ts';
import { automaticRoutes, checkRoutes } from './checks/routes.ts';
import { checkTargetNetworks, vpcCidrs } from './checks/target-networks.ts';
import type { Advisory, Rejection } from './checks/verdict.ts';
import { nameOf, routeStatus, ruleStatus, targetNetworkStatus, type StatusSurroundings } from './child-statuses.ts';
import type { CompileFinding, CompileInput, CompileResult, ObjectStatus } from './compile-types.ts';
import { endpointStatus, securityGroupNames } from './endpoint-status.ts';
import { snapshotContent, snapshotRouting, snapshotRules, versioned } from './snapshot.ts';

const NONE: readonly Advisory[] = [];

/**
 * Compiles one endpoint: what its data planes shall enforce, and the status of it and its children. The order
 * of the input's lists carries no meaning.
 */
export function compile(input: CompileInput): CompileResult {
  const { endpoint, quotas } = input;
  const rejection = checkEndpoint(endpoint, input.siblings, input.identityProviders, quotas.endpoints);
  const unservable = whatNoneServes(endpoint);
  const networks = checkTargetNetworks(endpoint, input.targetNetworks);
  const automatic = automaticRoutes(endpoint, networks.accepted);
  const manual = checkRoutes(input.routes, {
    endpoint,
    networks: input.targetNetworks,
    acceptedNetworks: networks.accepted,
    automatic,
    quota: quotas.routes,
  });
  const rules = checkAuthorizationRules(endpoint, input.rules, quotas['authorization-rules']);
  const allRoutes = [...automatic, ...manual.accepted];
  const policy = {
    clientCIDR: endpoint.spec.clientCIDR,
    rules: snapshotRules(rules.accepted),
    routing: snapshotRouting(networks.accepted, allRoutes),
  };

  const now = new Date(input.now).toISOString();
  const content = snapshotContent({
    endpoint,
    provider: findIdentityProvider(endpoint, input.identityProviders),
    networks: networks.accepted,
    ...policy,
  });
  const snapshot =
    rejection === undefined && unservable.length === 0 ? versioned(content, input.previous, input.epoch, now) : null;

  const around: StatusSurroundings = {
    now,
    previousStatuses: input.previousStatuses,
    rollout: input.rollout,
    digest: snapshot?.digest ?? null,
  };
  const gaps = routeGaps(networks.accepted, allRoutes);
  const aboutRules = ruleAdvisories(endpoint, rules.accepted, allRoutes);
  const aboutRoutes = new Map(allRoutes.map((route) => [route.metadata.name, routeAdvisories(endpoint, route, gaps)]));
  const outcome = {
    rejection,
    snapshot,
    networks: networks.accepted,
    manualRoutes: manual.accepted,
    automaticRoutes: automatic,
    rules: rules.accepted.length,
    gaps,
  };
  // An automatic route comes last, so that a manual one with its name can't stand in its place.
  const manualRoutes = input.routes.filter(
    ({ metadata }) => !automatic.some((one) => one.metadata.name === metadata.name),
  );
  const statuses: ObjectStatus[] = [
    endpointStatus(input, outcome, around),
    ...input.targetNetworks.map((network) => {
      const local = networks.accepted.includes(network) ? vpcCidrs(endpoint, network) : [];
      const refused = networks.rejected.get(network.metadata.name);
      return targetNetworkStatus(network, refused, local, securityGroupNames(input), around);
    }),
    ...[...manualRoutes, ...automatic].map((route) => {
      const { name } = route.metadata;
      const refused = automatic.includes(route) ? undefined : manual.rejected.get(name);
      return routeStatus(route, refused, aboutRoutes.get(name) ?? NONE, around);
    }),
    ...input.rules.map((rule) => {
      const { name } = rule.metadata;
      return ruleStatus(rule, rules.rejected.get(name), aboutRules.get(name) ?? NONE, around);
    }),
  ];
  const findings = [
    ...(rejection === undefined
      ? []
      : rejections(input, 'ClientVpnEndpoint', new Map([[endpoint.metadata.name, rejection]]))),
    ...unservable.map((one): CompileFinding => ({
      severity: 'error',
      kind: 'ClientVpnEndpoint',
      ...nameOf(endpoint.metadata),
      ...one,
    })),
    ...advice(input, 'ClientVpnEndpoint', new Map([[endpoint.metadata.name, endpointNotServed(endpoint)]])),
    ...rejections(input, 'TargetNetwork', networks.rejected),
    ...advice(
      input,
      'TargetNetwork',
      new Map(networks.accepted.map((network) => [network.metadata.name, targetNetworkNotServed(network)])),
    ),
    ...rejections(input, 'Route', manual.rejected),
    ...rejections(input, 'AuthorizationRule', rules.rejected),
    ...advice(
      input,
      'Route',
      new Map(manual.accepted.map(({ metadata }) => [metadata.name, aboutRoutes.get(metadata.name) ?? NONE])),
    ),
    ...advice(input, 'AuthorizationRule', aboutRules),
  ];
  return { snapshot, policy, statuses: byKey(statuses), findings };
}

export function byKey(statuses: readonly ObjectStatus[]): ReadonlyMap<string, ObjectStatus> {
  return new Map(statuses.map((status) => [objectKey(status.kind, status.namespace, status.name), status]));
}

function rejections(
  input: CompileInput,
  kind: CompileFinding['kind'],
  rejected: ReadonlyMap<string, Rejection>,
): readonly CompileFinding[] {
  const { namespace } = input.endpoint.metadata;
  return [...rejected].map(([name, rejection]) => ({ severity: 'error', kind, namespace, name, ...rejection }));
}

function advice(
  input: CompileInput,
  kind: CompileFinding['kind'],
  advisories: ReadonlyMap<string, readonly Advisory[]>,
): readonly CompileFinding[] {
  const { namespace } = input.endpoint.metadata;
  return [...advisories].flatMap(([name, list]) =>
    list.map((advisory): CompileFinding => ({ severity: 'warning', kind, namespace, name, ...advisory })),
  );
}
