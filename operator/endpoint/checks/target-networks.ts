import type { ClientVpnEndpoint } from '../../../api/v1alpha1/generated/client-vpn-endpoint.ts';
import type { TargetNetwork } from '../../../api/v1alpha1/generated/target-network.ts';
import { prefixesOverlap } from '../../../net/ipv4-prefix.ts';
import { prefixOf, sortOut, type Older, type Rejection, type Sorted } from './verdict.ts';

/** The smallest subnet that a target network may have. */
const LONGEST_SUBNET = 27;

/** Decides which target networks of one endpoint are accepted. */
export function checkTargetNetworks(
  endpoint: ClientVpnEndpoint,
  networks: readonly TargetNetwork[],
): Sorted<TargetNetwork> {
  return sortOut(
    networks,
    (network) => network.spec.zone,
    (network, older) =>
      rejectDeleting(endpoint, network) ??
      rejectSubnet(endpoint, network) ??
      rejectVpc(endpoint, network, older.list) ??
      rejectZone(network, older),
  );
}

/** The networks of the VPC behind an accepted target network: the endpoint's and its own, without repetition. */
export function vpcCidrs(endpoint: ClientVpnEndpoint, network: TargetNetwork): readonly string[] {
  return [...new Set([...(endpoint.spec.vpc?.cidrs ?? []), ...(network.spec.vpc?.cidrs ?? [])])];
}

/** The VPC that an endpoint is associated with: its own, else that of its oldest accepted target network. */
export function vpcName(endpoint: ClientVpnEndpoint, accepted: readonly TargetNetwork[]): string | undefined {
  return endpoint.spec.vpc?.name ?? accepted.find((network) => network.spec.vpc !== undefined)?.spec.vpc?.name;
}

function rejectDeleting(endpoint: ClientVpnEndpoint, network: TargetNetwork): Rejection | undefined {
  const { deletionTimestamp } = endpoint.metadata;
  const { creationTimestamp } = network.metadata;
  if (deletionTimestamp === undefined || creationTimestamp === undefined) return undefined;
  if (Date.parse(creationTimestamp) <= Date.parse(deletionTimestamp)) return undefined;
  return {
    reason: 'EndpointDeleting',
    field: 'spec.endpointRef.name',
    message: `endpoint ${endpoint.metadata.name} is being deleted`,
  };
}

function rejectSubnet(endpoint: ClientVpnEndpoint, network: TargetNetwork): Rejection | undefined {
  const field = 'spec.subnet.cidr';
  const { cidr } = network.spec.subnet;
  const subnet = prefixOf(cidr);
  if (subnet.length > LONGEST_SUBNET) {
    return { reason: 'SubnetTooSmall', field, message: `subnet ${cidr} is smaller than /${LONGEST_SUBNET}` };
  }
  if (prefixesOverlap(subnet, prefixOf(endpoint.spec.clientCIDR))) {
    const message = `subnet ${cidr} overlaps the endpoint's client network ${endpoint.spec.clientCIDR}`;
    return { reason: 'SubnetOverlapsClientCIDR', field, message };
  }
  return undefined;
}

function rejectVpc(
  endpoint: ClientVpnEndpoint,
  network: TargetNetwork,
  older: readonly TargetNetwork[],
): Rejection | undefined {
  const own = network.spec.vpc?.name;
  if (own === undefined && endpoint.spec.vpc === undefined) {
    const message = 'is required, because the endpoint names no VPC';
    return { reason: 'VpcMismatch', field: 'spec.vpc', message };
  }
  const expected = vpcName(endpoint, older);
  if (own !== undefined && expected !== undefined && own !== expected) {
    const message = `VPC ${own} is not the endpoint's, which is ${expected}`;
    return { reason: 'VpcMismatch', field: 'spec.vpc.name', message };
  }
  const client = prefixOf(endpoint.spec.clientCIDR);
  const overlapping = vpcCidrs(endpoint, network).find((cidr) => prefixesOverlap(prefixOf(cidr), client));
  if (overlapping !== undefined) {
    const message = `VPC network ${overlapping} overlaps the endpoint's client network ${endpoint.spec.clientCIDR}`;
    return { reason: 'VpcOverlapsClientCIDR', field: 'spec.vpc.cidrs', message };
  }
  return undefined;
}

function rejectZone(network: TargetNetwork, older: Older<TargetNetwork>): Rejection | undefined {
  const holder = older.byKey.get(network.spec.zone);
  if (holder === undefined) return undefined;
  const message = `zone ${network.spec.zone} is taken by target network ${holder.metadata.name}`;
  return { reason: 'ZoneInUse', field: 'spec.zone', message };
}
