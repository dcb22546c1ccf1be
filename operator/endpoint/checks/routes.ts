import { API_VERSION, automaticRouteName, ORIGIN_LABEL } from '../../../api/names.ts';
import type { ClientVpnEndpoint } from '../../../api/v1alpha1/generated/client-vpn-endpoint.ts';
import type { Route } from '../../../api/v1alpha1/generated/route.ts';
import type { TargetNetwork } from '../../../api/v1alpha1/generated/target-network.ts';
import { prefixContains, prefixesOverlap } from '../../../net/ipv4-prefix.ts';
import { vpcCidrs } from './target-networks.ts';
import { compareText, prefixOf, sortOut, type Older, type Rejection, type Sorted } from './verdict.ts';

/** The routes that every accepted target network has by itself: one for each network of its VPC. */
export function automaticRoutes(endpoint: ClientVpnEndpoint, networks: readonly TargetNetwork[]): readonly Route[] {
  return networks
    .flatMap((network) => vpcCidrs(endpoint, network).map((cidr) => automaticRoute(endpoint, network, cidr)))
    .toSorted((a, b) => compareText(a.metadata.name, b.metadata.name));
}

function automaticRoute(endpoint: ClientVpnEndpoint, network: TargetNetwork, cidr: string): Route {
  return {
    apiVersion: API_VERSION,
    kind: 'Route',
    metadata: {
      name: automaticRouteName(network.metadata.name, cidr),
      namespace: endpoint.metadata.namespace,
      labels: { [ORIGIN_LABEL]: 'associate' },
    },
    spec: {
      endpointRef: { name: endpoint.metadata.name },
      destinationCIDR: cidr,
      target: { type: 'TargetNetwork', targetNetworkRef: { name: network.metadata.name } },
    },
  };
}

export interface RouteSurroundings {
  readonly endpoint: ClientVpnEndpoint;
  /** All of the endpoint, accepted or not. */
  readonly networks: readonly TargetNetwork[];
  readonly acceptedNetworks: readonly TargetNetwork[];
  readonly automatic: readonly Route[];
  readonly quota: number;
}

/** Decides which of the routes that were added by hand are accepted. */
export function checkRoutes(routes: readonly Route[], around: RouteSurroundings): Sorted<Route> {
  const manual = routes.filter((route) => !isAutomatic(route, around.automatic));
  return sortOut(
    manual,
    routeKey,
    (route, older) =>
      rejectDestination(route, around) ??
      rejectTarget(route, around) ??
      rejectDuplicate(route, older, around.automatic) ??
      rejectQuota(older, around.quota),
  );
}

/** Whether `route` is the cluster's object for one of the automatic routes. */
function isAutomatic(route: Route, automatic: readonly Route[]): boolean {
  return (
    route.metadata.labels?.[ORIGIN_LABEL] === 'associate' &&
    automatic.some((other) => other.metadata.name === route.metadata.name && routeKey(other) === routeKey(route))
  );
}

/** Two routes with one key would decide about the same packets. */
function routeKey(route: Route): string {
  return `${route.spec.destinationCIDR} ${route.spec.target.targetNetworkRef?.name ?? ''}`;
}

function rejectDestination(route: Route, around: RouteSurroundings): Rejection | undefined {
  const field = 'spec.destinationCIDR';
  const { clientCIDR } = around.endpoint.spec;
  const { destinationCIDR } = route.spec;
  const client = prefixOf(clientCIDR);
  const destination = prefixOf(destinationCIDR);
  if (route.spec.target.type === 'Local') {
    if (prefixContains(client, destination)) return undefined;
    const message = `a Local route leads to other clients, and ${destinationCIDR} does not lie in ${clientCIDR}`;
    return { reason: 'LocalMustBeClientCIDR', field, message };
  }
  if (destination.length === 0 || !prefixesOverlap(destination, client)) return undefined;
  const message = `${destinationCIDR} overlaps the client network ${clientCIDR}; only a Local route may lead there`;
  return { reason: 'OverlapsClientCIDR', field, message };
}

function rejectTarget(route: Route, around: RouteSurroundings): Rejection | undefined {
  const name = route.spec.target.targetNetworkRef?.name;
  if (name === undefined) return undefined;
  const field = 'spec.target.targetNetworkRef.name';
  const isNamed = (network: TargetNetwork): boolean => network.metadata.name === name;
  if (!around.networks.some(isNamed)) {
    const message = `endpoint ${around.endpoint.metadata.name} has no target network ${name}`;
    return { reason: 'TargetNetworkNotFound', field, message };
  }
  if (around.acceptedNetworks.some(isNamed)) return undefined;
  return { reason: 'TargetNetworkNotAccepted', field, message: `target network ${name} is not accepted` };
}

function rejectDuplicate(route: Route, older: Older<Route>, automatic: readonly Route[]): Rejection | undefined {
  const key = routeKey(route);
  const twin = older.byKey.get(key) ?? automatic.find((other) => routeKey(other) === key);
  if (twin !== undefined) {
    const message = `route ${twin.metadata.name} has the same destination and target`;
    return { reason: 'Duplicate', field: 'spec.destinationCIDR', message };
  }
  const namesake = automatic.find((other) => other.metadata.name === route.metadata.name);
  if (namesake === undefined) return undefined;
  const message = `an automatic route to ${namesake.spec.destinationCIDR} has this name`;
  return { reason: 'Duplicate', field: 'metadata.name', message };
}

function rejectQuota(older: Older<Route>, quota: number): Rejection | undefined {
  if (older.list.length < quota) return undefined;
  const message = `the endpoint has ${quota} routes already, which is its quota (routes)`;
  return { reason: 'QuotaExceeded', field: 'spec.endpointRef.name', message };
}
